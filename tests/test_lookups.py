"""Lookups beside tshark's word: names, types, rcodes and answers of every DNS message, in captures that others made."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import dns.rcode
import dns.rdatatype
import pytest
from scapy.layers.dns import DNS, DNSRROPT
from scapy.layers.inet import IP, fragment
from scapy.layers.l2 import Ether

from analysis.dns.lookups import Message
from analysis.files.capture import read_capture
from analysis.report import Report, make_report
from tests.conftest import CAPTURES
from tests.craft import RESOLVER, SERVER, Talk, answer, pcap, question
from tests.test_dns import MAC, over_tcp, prefixed

pytestmark = pytest.mark.needs("tshark")
FILES = sorted(path.name for path in CAPTURES.glob("*.pcap*")) if CAPTURES.is_dir() else ["absent"]
DATA_FIELDS = {"dns.a": "A", "dns.aaaa": "AAAA", "dns.cname": "CNAME", "dns.ns": "NS", "dns.ptr.domain_name": "PTR"}

Pairs = list[tuple[str, Any]]  # an object of tshark's JSON, which has keys more than once


class Said(NamedTuple):
    """What is said of one DNS message. Answers: owner, type's number, data of the types in `DATA_FIELDS`."""

    frame: int
    id: int
    is_response: bool
    name: str
    type: int
    rcode: int | None
    answers: tuple[tuple[str, int, str], ...]


class Theirs(NamedTuple):
    """Tshark's message, and the frame of the query that it takes it to answer."""

    said: Said
    response_to: int | None


def every(pairs: Pairs, key: str) -> Iterator[Any]:
    """All values of `key`, at any depth."""
    for name, value in pairs:
        if name == key:
            yield value
        if isinstance(value, list) and value and isinstance(value[0], tuple):
            yield from every(value, key)


def first(pairs: Pairs, key: str) -> str:
    return str(next(every(pairs, key), ""))


def tshark(path: Path) -> list[Theirs]:
    """Tshark's DNS messages from and to port 53, in the order of their frames."""
    command = ["tshark", "-2", "-n", "-r", str(path), "-Y", "dns && (udp.port == 53 || tcp.port == 53)", "-T", "json"]
    done = subprocess.run([*command, "-J", "frame dns"], capture_output=True, text=True, check=True, timeout=120)
    found: list[Theirs] = []
    for packet in json.loads(done.stdout or "[]", object_pairs_hook=list):
        frame = int(first(packet, "frame.number"))
        for message in every(packet, "dns"):
            found += [_theirs(frame, message)] if isinstance(message, list) else []
    return found


def _theirs(frame: int, message: Pairs) -> Theirs:
    queries: Pairs = next(every(message, "Queries"), [])
    answers = [record for _, record in next(every(message, "Answers"), [])]
    is_response = first(message, "dns.flags.response") in ("1", "True")
    rcode = first(message, "dns.flags.rcode")
    extended = first(message, "dns.resp.ext_rcode") or "0"
    said = Said(
        frame,
        int(first(message, "dns.id"), 16),
        is_response,
        canonical(first(queries, "dns.qry.name")),
        int(first(queries, "dns.qry.type") or 0),
        int(rcode) | int(extended, 16) << 4 if is_response else None,
        tuple(sorted({_their_record(record) for record in answers})),
    )
    return Theirs(said, int(first(message, "dns.response_to") or 0) or None)


def _their_record(record: Pairs) -> tuple[str, int, str]:
    data = next((value for name, value in record if name in DATA_FIELDS), "")
    return canonical(first(record, "dns.resp.name")), int(first(record, "dns.resp.type")), canonical(str(data))


def canonical(name: str) -> str:
    return "." if name == "<Root>" else name.lower().removesuffix(".")


def _ours(message: Message) -> Said:
    known = set(DATA_FIELDS.values())
    return Said(
        message.frame,
        message.id,
        message.is_response,
        message.name,
        dns.rdatatype.from_text(message.type) if message.type else 0,
        dns.rcode.from_text(message.rcode) if message.is_response else None,
        tuple(
            sorted(
                {
                    (one.name, dns.rdatatype.from_text(one.type), canonical(one.data) if one.type in known else "")
                    for one in message.answers
                }
            )
        ),
    )


def compare(path: Path, allowed: frozenset[int] = frozenset()) -> Report:
    """Our messages and pairing beside tshark's; `allowed` frames may differ."""
    report = make_report(read_capture(path))
    theirs = tshark(path)
    ours = sorted(_ours(message) for message in report.traffic.messages if message.frame not in allowed)
    assert ours == sorted(one.said for one in theirs if one.said.frame not in allowed)
    lookups = {one.response_frame: one for one in report.traffic.lookups if one.response_frame is not None}
    lookups |= {one.truncated.frame: one for one in report.traffic.lookups if one.truncated is not None}
    ignored = {one.frame for lookup in report.traffic.lookups for one in lookup.ignored}
    for said, response_to in theirs:
        if said.is_response and response_to is not None and said.frame not in ignored | allowed:
            assert response_to in lookups[said.frame].query_frames, said.frame
    return report


@pytest.mark.needs("captures")
@pytest.mark.parametrize("name", FILES)
def test_every_message_and_its_pairing_are_tsharks(name: str) -> None:
    compare(CAPTURES / name)


@pytest.mark.needs("captures")
def test_there_is_something_to_compare() -> None:
    assert len(tshark(CAPTURES / "DnsPackets.pcap")) > 300


def test_a_large_answer_in_fragments_and_a_truncated_one_are_tsharks(tmp_path: Path) -> None:
    big = answer(*[f"198.51.100.{number}" for number in range(1, 100)], number=11)
    asked = question(number=12, kind="MX", name="Big.Example.ORG")
    asked[DNS].ar = DNSRROPT(rclass=4096)
    talk = Talk(server=RESOLVER).open()
    talk.exchange(prefixed(question(number=21)), prefixed(answer(SERVER, number=21)))
    talk.exchange(prefixed(question(number=22, kind="AAAA")), prefixed(answer(number=22, kind="AAAA", rcode=2)))
    frames = [
        question(number=11),
        *(Ether(src=MAC, dst=MAC) / piece for piece in fragment(big[IP], fragsize=600)),
        asked,
        answer(number=12, kind="MX", name="Big.Example.ORG", rcode=3),
        question(),
        answer(tc=1),
        *over_tcp(talk.close()),
    ]
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(frames))
    report = compare(path)
    assert [lookup.status for lookup in report.traffic.lookups] == ["answered", "nxdomain", "answered", "servfail"]
