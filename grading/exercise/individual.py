"""What is individual in an exercise: derived from the course's key, the exercise and the student, seen in the packets.

HMAC-SHA256 (RFC 2104, FIPS 198-1): without the key nobody can work out another student's marks, or the next edition's;
with it they need no list. It tells whose capture it is; it can't tell that nobody forged the frames.
"""

import base64
import hmac
import json
import unicodedata
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal

from analysis.errors import InputError

Use = Literal["host", "addresses", "port", "nonce"]
USES: tuple[Use, ...] = ("host", "addresses", "port", "nonce")
ZONE = "lab.test"
SHORTEST_KEY = 16  # characters
FIRST_PORT, PORTS = 20_000, 12_000  # below what systems take for themselves
CLIENTS, SERVERS = IPv4Address("198.18.0.0"), IPv4Address("198.19.0.0")  # RFC 2544's, which nobody routes
RESOLVER = 53  # the last byte of its address
NEW_KEY = "make one: openssl rand -hex 32 > course.key (and keep it from students)"


@dataclass(frozen=True, slots=True)
class Individual:
    """One student's own: the name to fetch, the hosts' addresses, the client's port, a word in the request target."""

    host: str
    client: str
    resolver: str
    server: str
    port: int
    nonce: str

    @property
    def placeholders(self) -> dict[str, str]:
        """What `$host`, `$port`, … stand for in an exercise's texts."""
        return {
            "host": self.host,
            "client": self.client,
            "resolver": self.resolver,
            "server": self.server,
            "port": str(self.port),
            "nonce": self.nonce,
        }


def derive(key: bytes, exercise: str, edition: str, student: str) -> Individual:
    """What is `student`'s in an edition of an exercise. The same arguments give the same, on every machine."""
    message = json.dumps(["handshake-lab/individual/1", exercise, edition, canonical_student(student)])
    digest = hmac.digest(key, message.encode(), "sha256")
    name = base64.b32encode(digest[:10]).decode().lower()[:12]
    last = 1 + digest[17] % 254
    return Individual(
        host=f"{name}.{ZONE}",
        client=str(CLIENTS + (digest[16] << 8) + (254 if last == RESOLVER else last)),
        resolver=str(CLIENTS + (digest[16] << 8) + RESOLVER),
        server=str(SERVERS + (digest[18] << 8) + 1 + digest[19] % 254),
        port=FIRST_PORT + int.from_bytes(digest[20:24]) % PORTS,
        nonce=digest[24:32].hex(),
    )


def canonical_student(student: str) -> str:
    """The id as everyone writes it: file systems differ in how they compose an é."""
    return unicodedata.normalize("NFC", student.strip())


def read_key(path: Path) -> bytes:
    """The course's key: what is in the file, without the blanks around it."""
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise InputError(f"the course key {path} can't be read: {error.strerror}", NEW_KEY) from None
    if len(key) < SHORTEST_KEY:
        raise InputError(f"the course key {path} has {len(key)} characters: that can be guessed", NEW_KEY)
    return key
