"""TLS hellos: real ones by Python's ssl (OpenSSL), tshark's word on them, odd and hostile ones by hand."""

import random
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from analysis.files.capture import read_capture
from analysis.report import make_report
from analysis.tcp.stream import Piece, Stream
from analysis.tls import LARGEST, RETRY, Tls, find_tls, speaks
from tests.conftest import CAPTURES
from tests.craft import NAME, RESPONSE, connection, pcap
from tests.craft_tls import (
    ALPN,
    ECH,
    NOTHING,
    SNI,
    TLS12,
    TLS13,
    VERSIONS,
    Flights,
    alert,
    client_hello,
    extension,
    handshake,
    look,
    nothing,
    offers,
    only,
    protocols,
    read,
    record,
    said,
    seen,
    server_hello,
    sni,
    stream,
    talk,
    vector,
)

real = pytest.mark.needs("openssl")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a self-signed certificate and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    subprocess.run([*command, "-subj", f"/CN={NAME}", *files], check=True, capture_output=True, timeout=60)
    both = folder / "both.pem"
    both.write_bytes((folder / "key").read_bytes() + (folder / "certificate").read_bytes())
    return both


# --- real handshakes ---


@real
@pytest.mark.parametrize(
    ("version", "name"), [(TLS12, "TLS 1.2"), (TLS13, "TLS 1.3"), (ssl.TLSVersion.TLSv1, "TLS 1.0")]
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated:DeprecationWarning")
def test_a_handshake_names_its_version_and_server(certificate: Path, version: ssl.TLSVersion, name: str) -> None:
    found = seen(handshake(certificate, only(version), only(version)))
    assert (found.version, found.server_name, found.offered) == (name, NAME, (name,))
    assert (found.alert, found.has_ech, found.hello_frames) == (None, False, (4, 5))
    assert found.summary == f"{name} to {NAME}"


@real
def test_a_handshake_may_name_no_server(certificate: Path) -> None:
    found = seen(handshake(certificate, name=None))
    assert (found.server_name, found.version, found.summary) == (None, "TLS 1.3", "TLS 1.3")


@real
def test_what_the_client_offers_is_listed_best_first(certificate: Path) -> None:
    found = seen(handshake(certificate))
    assert found.offered == ("TLS 1.3", "TLS 1.2")
    assert found.cipher in {0x1301, 0x1302, 0x1303}


@real
@pytest.mark.parametrize(("version", "chosen"), [(TLS12, "http/1.1"), (TLS13, None)])
def test_the_protocol_chosen_shows_up_to_tls_1_2(
    certificate: Path, version: ssl.TLSVersion, chosen: str | None
) -> None:
    client, server = protocols("h2", "http/1.1", version=version), protocols("http/1.1", version=version)
    found = seen(handshake(certificate, client, server))
    assert (found.offered_alpn, found.alpn) == (("h2", "http/1.1"), chosen)


@real
@pytest.mark.parametrize("sides", [(TLS12, TLS13), (TLS13, TLS12)])
def test_a_refused_version_is_the_servers_alert(
    certificate: Path, sides: tuple[ssl.TLSVersion, ssl.TLSVersion]
) -> None:
    found = seen(handshake(certificate, only(sides[0]), only(sides[1])))
    assert (found.version, found.cipher) == (None, None)
    assert found.alert == "the server's alert: protocol version (70)"
    assert found.summary == f"TLS to {NAME}; the server's alert: protocol version (70)"


@real
@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_a_distrusted_certificate_is_the_clients_alert(certificate: Path, version: ssl.TLSVersion) -> None:
    def distrust(context: ssl.SSLContext) -> None:
        only(version)(context)
        context.verify_mode = ssl.CERT_REQUIRED

    found = seen(handshake(certificate, distrust))
    assert found.version == f"TLS 1.{version - TLS12 + 2}"
    assert found.alert == "the client's alert: unknown CA (48)"


def retried(certificate: Path) -> Flights:
    """A TLS 1.3 handshake whose server asks for another key share than the one that is offered first."""
    return handshake(certificate, nothing, lambda context: context.set_ecdh_curve("secp384r1"))


@real
def test_a_hello_retry_request_has_the_version_and_two_rounds_of_hellos(certificate: Path) -> None:
    flights = retried(certificate)
    assert RETRY in said("server", flights)
    found = seen(flights)
    assert (found.version, found.server_name, found.hello_frames) == ("TLS 1.3", NAME, (4, 5, 6, 7))


def test_what_looks_like_a_second_hello_is_encrypted() -> None:
    hellos, finished = (client_hello(), server_hello()), record(b"\1", 20)
    client = [("client", record(hellos[0])), ("client", finished + record(hellos[0]))]
    server = [("server", record(hellos[1])), ("server", finished + record(hellos[1]))]
    assert seen(client + server).hello_frames == (4, 6)
    retry = [("server", record(server_hello(number=RETRY))), *server[1:]]
    assert seen(client + retry).hello_frames == (4, 5, 6, 7)


@real
@pytest.mark.parametrize("size", [1, 2, 5, 7, 100, 517])
def test_hellos_may_be_split_anywhere(certificate: Path, size: int) -> None:
    for flights in (handshake(certificate, only(TLS12)), retried(certificate)):
        whole, split = seen(flights), seen(flights, size)
        assert split == replace(whole, hello_frames=split.hello_frames)
        first = said("client", flights[:1])
        frames = 4 + (len(first) - 1) // size  # the first flight is the ClientHello
        assert set(range(4, frames + 1)) < set(split.hello_frames)


@real
def test_segments_may_come_in_any_order(certificate: Path) -> None:
    flights = handshake(certificate)
    mixed = talk(flights, 100)
    mixed.frames[3:6] = mixed.frames[5], mixed.frames[3], mixed.frames[4]
    found = look(connection(mixed))
    assert found is not None
    assert (found.server_name, found.hello_frames[:3]) == (NAME, (4, 5, 6))


# --- cut off, odd, hostile ---


@real
def test_a_hello_that_is_cut_off_says_what_is_there(certificate: Path) -> None:
    flights = handshake(certificate, protocols("h2", "x"), protocols("x"))
    client, server = said("client", flights[:1]), said("server", flights)
    whole = read(client, server)
    for end in range(len(client)):
        found = find_tls(stream(client[:end]), NOTHING)
        assert (found is None) == (end < 6)
        if found is not None:
            assert (found.version, found.cipher, found.alert, found.has_ech) == (None, None, None, False)
            assert found.server_name in (None, NAME)
            assert found.offered in ((), whole.offered)
            assert found.offered_alpn in ((), ("h2", "x"))
            assert found.hello_frames == (1,)
    for end in range(len(server)):
        found = read(client, server[:end])
        assert (found.version in (None, "TLS 1.3"), found.cipher in (None, whole.cipher)) == (True, True)
        assert (found.server_name, found.offered) == (NAME, whole.offered)


@real
def test_a_gap_leaves_what_came_before_it(certificate: Path) -> None:
    flights = handshake(certificate, only(TLS12))
    lossy = talk(flights, 100)
    del lossy.frames[4]
    found = look(connection(lossy))
    assert found is not None
    assert (found.offered, found.version, found.hello_frames[0]) == ((), "TLS 1.2", 4)
    unanswered = seen(flights[:1])
    assert unanswered.summary == f"TLS (version unseen) to {NAME}"


def test_tls_1_2_is_not_believed_of_a_hello_that_is_cut_off() -> None:
    hello = server_hello(extension(23, b""), extension(VERSIONS, b"\x03\x04"))
    assert read(record(client_hello()), record(hello)).version == "TLS 1.3"
    assert read(record(client_hello()), record(hello)[:-3]).version is None
    assert read(record(client_hello()), record(server_hello(legacy=0x0301))[:20]).version == "TLS 1.0"
    lying = server_hello(b"\0\x17\0\xff", extension(VERSIONS, b"\x03\x04"))
    assert read(record(client_hello()), record(lying)).version is None


def test_a_hello_may_take_many_records() -> None:
    hello = client_hello(sni(NAME.encode()), offers(0x0304))
    pieces = [record(bytes((byte,))) for byte in hello]
    assert read(b"".join(pieces)) == read(record(hello))
    chatty = b"".join(piece + record(b"") for piece in pieces)
    assert read(chatty).server_name == NAME


def test_hellos_without_extensions_have_the_legacy_version() -> None:
    found = read(record(client_hello(legacy=0x0301)), record(server_hello(legacy=0x0300, cipher=5)))
    assert (found.offered, found.version, found.cipher) == (("TLS 1.0",), "SSL 3.0", 5)


def test_unknown_versions_and_alerts_keep_their_numbers() -> None:
    found = read(record(client_hello(offers(0x7F1C))), record(server_hello(legacy=0x0399)) + alert(200))
    assert (found.offered, found.version) == (("version 0x7f1c",), "version 0x0399")
    assert found.alert == "the server's alert: unknown (200)"


def test_grease_is_left_out() -> None:
    found = read(
        record(
            client_hello(
                extension(0x1A1A, b"\0"),
                offers(0x0A0A, 0x0304, 0xFAFA, 0x0303, 0x0303),
                extension(ALPN, vector(2, vector(1, b"\x3a\x3a"), vector(1, b"h2"), vector(1))),
            )
        )
    )
    assert (found.offered, found.offered_alpn) == (("TLS 1.3", "TLS 1.2"), ("h2",))


def test_an_encrypted_hello_leaves_the_name_in_doubt() -> None:
    found = read(record(client_hello(sni(b"front.example"), extension(ECH, b"\0"))))
    assert found.has_ech
    assert found.summary == "TLS (version unseen) to front.example (or who is behind it: ECH)"


@pytest.mark.parametrize(
    ("extensions", "name"),
    [
        ((sni(b"WWW.Example.COM"),), NAME),
        ((sni(b"www.example.com."),), NAME),
        ((sni(),), None),
        ((sni(b""),), None),
        ((sni(b"", b"b.example"),), "b.example"),
        ((sni(b"a.example"), sni(b"b.example")), "a.example"),
        ((extension(SNI, vector(2, b"\1" + vector(2, b"x"), b"\0" + vector(2, b"a.example"))),), "a.example"),
        ((extension(SNI, b""),), None),
        ((extension(SNI, b"\xff\xff\0\xff\xffx"),), None),
        ((sni(b"\x1b[2J\xff\n"),), "\x1b[2j\xff\n"),
    ],
    ids=["case", "root", "none", "empty", "empty first", "twice", "other type", "no list", "lies", "control"],
)
def test_the_name_is_the_first_that_there_is(extensions: tuple[bytes, ...], name: str | None) -> None:
    assert read(record(client_hello(*extensions))).server_name == name


def test_the_first_fatal_alert_counts() -> None:
    hello = record(client_hello())
    found = find_tls(
        Stream(
            hello + alert(10),
            (Piece(0, len(hello), 1), Piece(len(hello), len(hello) + 7, 9)),
            has_gap=False,
            ending="open",
        ),
        Stream(alert(112, level=1) + alert(40) + alert(50), (Piece(0, 21, 5),), has_gap=False, ending="open"),
    )
    assert found is not None
    assert found.alert == "the server's alert: handshake failure (40)"


def test_an_encrypted_alert_is_none() -> None:
    encrypted = record(b"\1", 20) + record(bytes((2, 40)) + bytes(24), 21)
    assert read(record(client_hello()), record(server_hello()) + encrypted).alert is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x16\x03\x01\x02\x00",
        b"\x16\x02\x01\x02\x00\x01",
        b"\x16\x03\x01\x00\x00\x01",
        b"\x16\x03\x01\x02\x00\x02",
        b"\x80\x2e\x01\x03\x01\x00\x15",
        b"\x16\x03\x01\xff\xff\x01",
        alert(40),
    ],
    ids=["empty", "header", "version 2", "no fragment", "ServerHello", "SSLv2", "huge record", "alert"],
)
def test_what_does_not_begin_with_a_client_hello_is_no_tls(data: bytes) -> None:
    assert find_tls(stream(data), stream(record(server_hello()))) is None


def test_a_server_that_speaks_otherwise_has_no_version() -> None:
    assert read(record(client_hello()), RESPONSE).version is None
    assert read(record(client_hello()), record(client_hello())).version is None
    for other in (b"\0\3\1\0\1x", b"\x15\2\1\0\1x", b"\x18\3\1\0\1x"):
        assert read(record(client_hello()), other + alert(40)).alert is None


def test_absurd_lengths_and_counts_end_at_the_limit() -> None:
    hello = b"\1\xff\xff\xff\x03\x03" + bytes(32) + b"\0\0\2\x13\1\1\0\xff\xff" + sni(NAME.encode())
    names = extension(ALPN, vector(2, *[vector(1, b"x")] * 30_000))
    found = read(b"".join(record((hello + names)[at : at + 16000]) for at in range(0, 70_000, 16000)) * 100)
    assert (found.server_name, len(found.offered_alpn)) == (NAME, 30_000)
    many = record(client_hello(*[extension(number, b"") for number in range(16_000)], sni(b"late.example")))
    assert len(many) < LARGEST
    assert find_tls(stream(many), NOTHING) is None  # no such record: RFC 8446 §5.1
    late = read(record(hello) + record(b"") * 1_000_000 + alert(40))
    assert (late.server_name, late.alert) == (NAME, None)


@real
def test_whatever_is_changed_in_a_handshake_it_is_read(certificate: Path) -> None:
    source = random.Random(20)
    known = [handshake(certificate, only(TLS12)), handshake(certificate, protocols("h2")), retried(certificate)]
    recognised = 0
    for turn in range(3000):
        client, server = (bytearray(said(side, known[turn % 3])) for side in ("client", "server"))
        for data in (client, server):
            for _ in range(source.randrange(1, 6)):
                place = min(int(source.expovariate(0.01)), len(data) - 1)  # most in the hellos
                data[place : place + source.randrange(3)] = source.randbytes(source.randrange(3))
        found = find_tls(stream(bytes(client)), stream(bytes(server)))
        if found is not None:
            recognised += 1
            assert found.summary
            assert set(found.hello_frames) == {1}
    assert recognised > 2000


# --- tshark's word ---


def tshark_hellos(path: Path) -> Iterator[Mapping[str, list[str]]]:
    """For each TCP connection the fields of its TLS messages, in order."""
    fields = ["handshake.type", "handshake.version", "handshake.extensions.supported_version", "handshake.ciphersuite"]
    fields += ["handshake.extensions_server_name", "handshake.extensions_alpn_str", "alert_message.desc"]
    options = [word for field in fields for word in ("-e", f"tls.{field}")]
    command = ["tshark", "-2", "-r", str(path), "-d", "tcp.port==80,tls", "-T", "fields", *options, "-Y"]
    for number in count():
        done = subprocess.run(
            [*command, f"tls and tcp.stream=={number}"], capture_output=True, text=True, check=True, timeout=60
        )
        if not done.stdout:
            return
        rows = [line.split("\t") for line in done.stdout.split("\n")[:-1]]
        by_type = {row[0].split(",")[0]: row for row in reversed(rows)}
        client, server = by_type["1"], by_type.get("2", [""] * len(fields))
        yield {
            "offered": (client[2] or client[1]).split(","),
            "version": (server[2] or server[1]).split(","),
            "cipher": server[3].split(","),
            "server_name": client[4].split(","),
            "offered_alpn": client[5].split(","),
            "alpn": server[5].split(","),
            "alert": [row[6] for row in rows if row[6]][:1] or [""],
        }


def as_tshark(found: Tls) -> Mapping[str, list[str]]:
    numbers = {"TLS 1.0": "0x0301", "TLS 1.1": "0x0302", "TLS 1.2": "0x0303", "TLS 1.3": "0x0304", None: ""}
    return {
        "offered": [numbers[one] for one in found.offered],
        "version": [numbers[found.version]],
        "cipher": ["" if found.cipher is None else f"0x{found.cipher:04x}"],
        "server_name": [found.server_name or ""],
        "offered_alpn": list(found.offered_alpn) or [""],
        "alpn": [found.alpn or ""],
        "alert": ["" if found.alert is None else found.alert.rpartition("(")[2].rstrip(")")],
    }


def compare_with_tshark(path: Path) -> int:
    found = [look(one) for one in make_report(read_capture(path)).traffic.connections]
    theirs = list(tshark_hellos(path))
    assert [as_tshark(one) for one in found if one is not None] == theirs
    return len(theirs)


@pytest.mark.needs("tshark", "captures")
@pytest.mark.parametrize("file", ["tls-pre-1970.pcap", "tls13_psk_succesfull.pcap"])
def test_real_captures_have_tsharks_hellos(file: str) -> None:
    assert compare_with_tshark(CAPTURES / file) == 1


@pytest.mark.needs("captures")
def test_real_captures_are_named() -> None:
    found = [
        look(make_report(read_capture(CAPTURES / file)).traffic.connections[0])
        for file in ("tls-pre-1970.pcap", "tls13_psk_succesfull.pcap", "http.pcap")
    ]
    assert [one and one.summary for one in found] == ["TLS 1.0 to fkp.samsungcloudsolution.com", "TLS 1.3", None]


@pytest.mark.needs("tshark", "openssl")
def test_openssls_handshakes_have_tsharks_hellos(certificate: Path, tmp_path: Path) -> None:
    handshakes = [
        handshake(certificate),
        handshake(certificate, name=None),
        handshake(certificate, protocols("h2", "http/1.1", version=TLS12), protocols("http/1.1")),
        handshake(certificate, only(TLS13), only(TLS12)),
        handshake(certificate, only(TLS12), only(TLS13)),
        retried(certificate),
    ]
    frames = [frame for port, one in enumerate(handshakes, 40000) for frame in talk(one, 200, port).frames]
    path = tmp_path / "handshakes.pcap"
    path.write_bytes(pcap(frames))
    assert compare_with_tshark(path) == len(handshakes)


# --- what else there is ---


@pytest.mark.parametrize(
    ("client", "server", "name"),
    [
        (record(client_hello()), b"", "TLS"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0", b"", "HTTP/2"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", b"", "SSH"),
        (b"", b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (b"", b"220 mail.example.com ESMTP\r\n", "SMTP"),
        (b"EHLO a.example\r\n", b"220-welcome\r\n220 to it\r\n", "SMTP"),
        (b"", b"220 (vsFTPd 3.0.3)\r\n", "FTP"),
        (b"USER anonymous\r\n", b"220 ready\r\n", "FTP"),
        (b"", b"220 ready\r\n", None),
        (b"GET / HTTP/1.1\r\n", RESPONSE, None),
        (b"", b"", None),
    ],
)
def test_a_connection_is_named_by_its_first_bytes(client: bytes, server: bytes, name: str | None) -> None:
    assert speaks(client, server) == name
