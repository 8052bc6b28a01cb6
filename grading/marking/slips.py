"""What kind of slip a wrong answer looks like: the mistakes that learners make with Seq, Ack and who is who."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from grading.facts.facts import Facts
from grading.facts.path import FactPath, mirrored, with_last

CIRCLE = 1 << 32  # sequence numbers, RFC 9293 §3.4
RAW_OF = {"seq": "raw_seq", "ack": "raw_ack"}
RELATIVE_OF = {raw: relative for relative, raw in RAW_OF.items()}
ISNS = ("client_isn", "server_isn")
OTHER_NUMBER = {"seq": "ack", "ack": "seq", "raw_seq": "raw_ack", "raw_ack": "raw_seq"}
SLIPS = {
    "relative-for-raw": "it looks like the relative number: the raw one stands in the packet, and starts anywhere",
    "raw-for-relative": "it looks like the raw number: the relative one counts from the side's initial number",
    "other-side": "it looks like the other side's: what is the client's and what the server's was mixed up",
    "seq-for-ack": "it looks like the Seq: the Ack is the number of the next byte expected from the other side",
    "ack-for-seq": "it looks like the Ack: the Seq is the number of the first byte that the segment itself carries",
    "off-by-one": "off by one",
    "next-frame": "it is the frame next to it",
    "counts-packets": "it looks like a count of packets: an Ack counts bytes, and names the next one that is expected",
    "hex-as-decimal": "it looks like a hexadecimal number without its 0x",
    "partly": "a part of it is right",
}
ONE_EACH = "takes up one number, as if it were a byte (RFC 9293 §3.4)"


class Slip(NamedTuple):
    """A slip by its name, and in words."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, and what the report says of it."""

    path: FactPath
    value: Any
    facts: Facts

    @property
    def is_frame(self) -> bool:
        return self.path.last.endswith(("frame", "frames"))

    @property
    def is_number(self) -> bool:
        """Whether it is a sequence number, raw or relative."""
        return self.path.last in (*RAW_OF, *RELATIVE_OF, *ISNS)


def other_form(asked: Asked) -> int | None:
    """A raw number's relative one, or a relative number's raw one."""
    last = asked.path.last
    if last in ISNS:
        return 0
    name = RAW_OF.get(last) or RELATIVE_OF.get(last)
    value = asked.facts.at(with_last(asked.path, name)) if name else None
    return value if isinstance(value, int) else None


def diagnose(asked: Asked, answer: Any, written: Any) -> Slip | None:
    """The slip that leads to `answer`, which stands as `written` in the file; None if none is known."""
    for name, value in _candidates(asked):
        if value is not None and value == answer and type(value) is type(answer):
            return Slip(name, SLIPS[name])
    if isinstance(asked.value, bool) or not isinstance(asked.value, int) or not isinstance(answer, int):
        return None
    if abs(answer - asked.value) == 1 or (asked.is_number and abs(answer - asked.value) == CIRCLE - 1):
        return Slip("next-frame", SLIPS["next-frame"]) if asked.is_frame else _off_by_one(asked, answer - asked.value)
    form = other_form(asked)
    if form is not None and abs(answer - form) == 1:
        name = _form_name(asked)
        return Slip(name, f"{SLIPS[name]}; and it is {_off_by_one(asked, answer - form).text}")
    if _counts_packets(asked, answer):
        return Slip("counts-packets", SLIPS["counts-packets"])
    return Slip("hex-as-decimal", SLIPS["hex-as-decimal"]) if _is_hex(written, asked.value) else None


def _candidates(asked: Asked) -> Iterator[tuple[str, Any]]:
    if asked.is_number:
        yield _form_name(asked), other_form(asked)
    last = asked.path.last
    if last in OTHER_NUMBER:
        name = "seq-for-ack" if last.endswith("ack") else "ack-for-seq"
        yield name, asked.facts.at(with_last(asked.path, OTHER_NUMBER[last]))
    mirror = mirrored(asked.path)
    if mirror is not None:
        yield "other-side", asked.facts.at(mirror)
    if asked.value in ("client", "server"):
        yield "other-side", "server" if asked.value == "client" else "client"


def _form_name(asked: Asked) -> str:
    return "raw-for-relative" if asked.path.last in RAW_OF else "relative-for-raw"


def _off_by_one(asked: Asked, off: int) -> Slip:
    """Off by one (or by all numbers but one, the other way), and, where a SYN or a FIN is between, that it counts."""
    which = _control_at(asked, off if abs(off) == 1 else -1 if off > 0 else 1) if asked.is_number else ""
    said = f": the {which} {ONE_EACH}" if which else ""
    return Slip("off-by-one", SLIPS["off-by-one"] + said)


def _control_at(asked: Asked, off: int) -> str:
    """`SYN` or `FIN`, where one takes up the number between the one asked for and the answer."""
    last = asked.path.last
    relative = asked.value if last in RAW_OF else other_form(asked)
    if relative is None:
        return ""
    between, side = min(relative, relative + off), _side(asked)
    for segment in asked.facts.segments:
        if side and segment["from"] != side:
            continue
        flags = segment["flags"].split(",")
        if "FIN" in flags and between == segment["seq"] + segment["len"]:
            return "FIN"
        if "SYN" in flags and between == segment["seq"]:
            return "SYN"
    return ""


def _side(asked: Asked) -> str:
    """Whose numbers they are: a Seq its sender's, an Ack the other side's; empty where that isn't known."""
    last = asked.path.last
    if last in ISNS:
        return last.partition("_")[0]
    sender = asked.facts.at(with_last(asked.path, "from"))
    if last.endswith("ack"):
        return {"client": "server", "server": "client"}.get(sender, "")
    return sender or ""


def _counts_packets(asked: Asked, answer: int) -> bool:
    """Whether a relative Ack was taken for the number of packets that had come, with or without those of no bytes."""
    if asked.path.last != "ack":
        return False
    frame, sender = (asked.facts.at(with_last(asked.path, name)) for name in ("frame", "from"))
    came = [one for one in asked.facts.segments if one["from"] != sender and one["frame"] < (frame or 0)]
    with_bytes = sum(one["len"] > 0 for one in came)
    return answer in (with_bytes, with_bytes + 1, len(came))


def _is_hex(written: Any, value: int) -> bool:
    try:
        return int(str(written).strip(), 16) == value
    except ValueError:
        return False
