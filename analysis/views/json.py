"""A report as JSON: `handshake-lab/report/1`, by the schema `docs/report.schema.json`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from analysis.carried import Carried
from analysis.dns.lookups import Lookup
from analysis.files.capture import Capture
from analysis.health import cut_frames
from analysis.http import Exchange
from analysis.packets.packet import RST, SYN, option_text
from analysis.report import Report
from analysis.rules.judge import Finding
from analysis.sequence import OPTION_NAMES, exact_sequence, fingerprint_of, flag_word, shape_of
from analysis.story import Story
from analysis.tcp.connection import Connection
from analysis.tcp.events import SENT_AGAIN
from analysis.tcp.segment import ROLES, Role, Segment
from analysis.testimony import Kernels
from analysis.text import json_without_commands
from analysis.tls import Tls
from analysis.views.frames import frame_lines

SCHEMA = "handshake-lab/report/1"
MOST_INDENTED = 2000  # lookups and connections
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END_OF_TIME = 253_402_300_799_999_999_999  # ns: the last of the year 9999


def to_json(report: Report) -> dict[str, Any]:
    """The report as plain values; frame lists are numbers from 1, references are indexes."""
    return {name: list(value) if isinstance(value, Iterator) else value for name, value in _values(report).items()}


def json_text(report: Report) -> Iterator[str]:
    """The report as JSON in ASCII, in pieces: a capture of a hundred thousand connections makes a hundred megabytes.

    It is indented; of a capture so long, each entry of the long lists is one line.
    """
    return map(json_without_commands, _json_pieces(report))


def _json_pieces(report: Report) -> Iterator[str]:
    is_long = len(report.traffic.connections) + len(report.traffic.pairing) > MOST_INDENTED
    before = "{"
    for name, value in _values(report).items():
        yield f"{before}\n  {json.dumps(name)}: "
        before = ","
        if isinstance(value, Iterator):
            yield from _list_text(value, None if is_long else 2)
        else:
            yield json.dumps(value, indent=2).replace("\n", "\n  ")
    yield "\n}\n"


def _list_text(values: Iterator[Any], indent: int | None) -> Iterator[str]:
    before = "["
    for value in values:
        yield before + "\n    " + json.dumps(value, indent=indent).replace("\n", "\n    ")
        before = ","
    yield "[]" if before == "[" else "\n  ]"


def _values(report: Report) -> dict[str, Any]:
    """The report's values by name; the long lists as iterators, to be used once and in this order."""
    texts = {"exact": str(report.exact), "shape": str(report.shape)}
    return {
        "schema": SCHEMA,
        "capture": {
            **capture_values(report.capture, report.traffic.packets.others),
            "health": report.health,
            "problems": [doubt.text for doubt in report.doubts if doubt.needed] or list(report.capture.problems),
            "notes": [doubt.text for doubt in report.doubts if not doubt.needed],
            "doubts": [{**doubt._asdict(), "frames": list(doubt.frames)} for doubt in report.doubts],
        },
        "lookups": (_lookup(lookup) for lookup in report.traffic.lookups),
        "unasked_responses": [one.frame for one in report.traffic.unasked],
        "connections": _connections(report),
        "stories": _stories(report, texts),
        "chosen_story": {
            "index": None if report.story is None else report.stories.index(report.story),
            "why": report.why,
        },
        "frames": ({"frame": line.frame, "line": str(line).strip()} for line in frame_lines(report)),
        "findings": [
            {**_fields(finding), "frames": list(finding.frames), "details": list(finding.details)}
            for finding in report.findings
        ],
        "verdict": report.verdict,
        "fingerprint": {form: fingerprint_of(text) if report.story else None for form, text in texts.items()},
    }


def _fields(finding: Finding) -> dict[str, Any]:
    """The finding's fields by name; `dataclasses.asdict` would copy each value, which takes long."""
    return {field.name: getattr(finding, field.name) for field in fields(finding)}


def iso_time(time_ns: int) -> str:
    """ISO 8601 in UTC, with nanoseconds; a damaged time beyond the year 9999 is written as its end."""
    seconds, nanoseconds = divmod(min(time_ns, END_OF_TIME), 1_000_000_000)
    return f"{(EPOCH + timedelta(seconds=seconds)).strftime('%Y-%m-%dT%H:%M:%S')}.{nanoseconds:09d}Z"


def capture_values(capture: Capture, others: Mapping[str, int]) -> dict[str, Any]:
    """What is known of the file; `others`: frames that are neither UDP nor TCP, by name."""
    times = capture.frames.time_ns
    _, cut = cut_frames(capture)
    return {
        "path": capture.path,
        "format": capture.format,
        "compressed": capture.compressed,
        "frame_count": len(capture.frames),
        "link_types": np.flatnonzero(np.bincount(capture.frames.link_type)).tolist(),
        "first_time": iso_time(int(times[0])) if len(times) else None,
        "last_time": iso_time(int(times[-1])) if len(times) else None,
        "health": "incomplete" if cut else capture.health,
        "problems": [*capture.problems, *([cut] if cut else [])],
        "notes": list(capture.notes),
        "comments": [asdict(comment) for comment in capture.comments],
        "other_frames": dict(sorted(others.items())),
    }


def _lookup(lookup: Lookup) -> dict[str, Any]:
    return {
        "name": lookup.name,
        "type": lookup.type,
        "transport": lookup.transport,
        "status": lookup.status,
        "rcode": lookup.rcode,
        "answers": [record._asdict() for record in lookup.answers],
        "client": lookup.client,
        "resolver": lookup.resolver,
        "query_frames": list(lookup.query_frames),
        "response_frame": lookup.response_frame,
        "truncated_frame": None if lookup.truncated is None else lookup.truncated.frame,
        "ignored": [one._asdict() for one in lookup.ignored],
        "edns": _edns(lookup),
    }


def _edns(lookup: Lookup) -> dict[str, Any] | None:
    edns = lookup.queries[0].edns
    return None if edns is None else {**edns._asdict(), "options": list(edns.options)}


def _connections(report: Report) -> Iterator[dict[str, Any]]:
    for connection, carried in zip(report.traffic.connections, report.traffic.carried, strict=True):
        kernels = report.kernels.get(connection.index)
        yield {**_connection(connection, carried), "kernel": None if kernels is None else _kernel(kernels)}
        connection.forget()


def _connection(connection: Connection, carried: Carried) -> dict[str, Any]:
    close = connection.close
    roles: tuple[Role, ...] = ("client", "server")
    return {
        "client": connection.client._asdict(),
        "server": connection.server._asdict(),
        "frame_count": connection.frame_count,
        "completeness": connection.completeness,
        "client_isn": connection.isn["client"],
        "server_isn": connection.isn["server"],
        "rtt_s": None if connection.rtt_ns is None else connection.rtt_ns / 1e9,
        "handshake": {
            "status": connection.handshake.status,
            "frames": list(connection.handshake.frames),
            "kind": connection.handshake.kind,
            "syn_count": connection.handshake.syn_count,
            "syn_data": connection.handshake.syn_data,
            "fast_open": connection.handshake.fast_open,
            "options": {role: _options(connection.syn_of(role)) for role in roles},
        },
        "close": {
            "variant": close.variant,
            "first_closer": close.first_closer,
            "complete": close.complete,
            "frames": list(close.frames),
            "fin_with_data": list(close.fin_with_data),
            "fin_retransmitted": list(close.fin_retransmitted),
            "half_close_data": close.half_close_data,
            "last_ack_missing": close.last_ack_missing,
            "reset_after": close.reset_after,
            "stray_resets": list(close.stray_resets),
        },
        "bytes": {
            role: sum(s.length for s in connection.sent_by(role) if not s.repeated and not s.flags & RST)
            for role in roles
        },
        "events": [event._asdict() for event in connection.events],
        "protocol": carried.protocol,
        "tls": None if carried.tls is None else _tls(carried.tls),
    }


def _kernel(kernels: Kernels) -> dict[str, Any]:
    """Each kernel's last word on the connection, and every look."""
    last = {role: kernels.last(role) for role in ROLES}
    return {
        **{role: None if one is None else one.look.state for role, one in last.items()},
        "looks": [
            {
                **one.look._asdict(),
                "inferred": one.inferred,
                "agreement": one.agreement,
                "why": one.why,
            }
            for one in kernels.looks
        ],
    }


def _tls(tls: Tls) -> dict[str, Any]:
    return {
        "server_name": tls.server_name,
        "version": tls.version,
        "offered": list(tls.offered),
        "alpn": tls.alpn,
        "offered_alpn": list(tls.offered_alpn),
        "cipher": tls.cipher,
        "alert": tls.alert,
        "has_ech": tls.has_ech,
        "hello_frames": list(tls.hello_frames),
    }


def _options(syn: Segment | None) -> list[dict[str, Any]]:
    """The options of a SYN: kind, name, value in hex, and what it means."""
    if syn is None:
        return []
    return [
        {
            "kind": option.kind,
            "name": OPTION_NAMES.get(option.kind, f"kind-{option.kind}"),
            "value": option.value.hex(),
            "text": option_text(option),
        }
        for option in syn.tcp.options
    ]


def _stories(report: Report, texts: dict[str, str]) -> Iterator[dict[str, Any]]:
    lookups = {id(lookup): index for index, lookup in enumerate(report.traffic.lookups)}
    for story in report.stories:
        yield _story(story, report, texts if story is report.story else _texts(story), lookups)
        for connection in story.connections:
            connection.forget()


def _texts(story: Story) -> dict[str, str]:
    exact = exact_sequence(story)
    return {"exact": str(exact), "shape": str(shape_of(exact))}


def _story(story: Story, report: Report, texts: dict[str, str], lookups: dict[int, int]) -> dict[str, Any]:
    chosen = story is report.story
    return {
        "name": story.name,
        "names": list(story.names),
        "lookups": [lookups[id(lookup)] for lookup in story.lookups],
        "connections": [connection.index for connection in story.connections],
        "carriers": [connection.index for connection in story.carriers],
        "exchanges": [_exchange(exchange) for exchange in story.exchanges],
        "segments": [
            _segment(connection, segment, index)
            for connection in (story.connections if chosen else ())
            for index, segment in enumerate(connection.segments)
        ],
        "sequence": texts,
    }


def _exchange(exchange: Exchange) -> dict[str, Any]:
    return {
        "method": exchange.method,
        "target": exchange.target,
        "version": exchange.version,
        "status": exchange.status,
        "problem": exchange.problem,
        "request_frames": list(exchange.request_frames),
        "response_frames": list(exchange.response_frames),
    }


def _segment(connection: Connection, segment: Segment, index: int) -> dict[str, Any]:
    return {
        "frame": segment.frame,
        "time": iso_time(segment.packet.time_ns),
        "from": segment.sender,
        "flags": flag_word(segment).replace("DATA", "ACK"),
        "seq": segment.seq,
        "ack": segment.ack,
        "len": segment.length,
        "raw_seq": segment.tcp.seq,
        "raw_ack": None if segment.ack is None else segment.tcp.ack,
        "window": connection.window_of(segment),
        "states": connection.states[index]._asdict(),
        "kind": _kind(connection, segment),
    }


def _kind(connection: Connection, segment: Segment) -> str:
    """What the segment does: one word for a filter."""
    kinds = [event.kind for event in connection.events_in.get(segment.frame, ())]
    again = next((kind for kind in kinds if kind in (*SENT_AGAIN, "out-of-order", "duplicate-frame")), None)
    if again:
        return again
    if segment.flags & SYN or (segment.frame,) == connection.handshake.frames[-1:]:
        return "handshake"
    if segment.frame in connection.close.frames:
        return "close"
    return "data" if segment.length else "ack"
