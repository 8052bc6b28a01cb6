"""What an exact expectation says of the shape: all its variants are written out, and the shape of each computed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, permutations, repeat

from analysis.expect.events import following
from analysis.expect.pattern import (
    ANY,
    AnyOrder,
    Block,
    ConnectionPattern,
    Either,
    Expectation,
    Glob,
    LookupPattern,
    Node,
    Optional,
    PatternLine,
    Repeat,
    SegmentPattern,
)
from analysis.sequence import (
    ConnectionLine,
    Line,
    LookupLine,
    Numbers,
    SegmentLine,
    Sequence,
    shape_of,
)
from analysis.tcp.segment import PEER, Role

MOST_VARIANTS = 64
MOST_LINES = 20_000  # of all variants together

Variant = tuple[PatternLine, ...]


class _Unknown(Exception):  # noqa: N818 - no error: it ends a search
    """The shape depends on what the expectation leaves open."""


def shape_of_expectation(expectation: Expectation) -> Expectation | None:
    """See `Expectation.shape`."""
    if expectation.form == "shape":
        return expectation
    try:
        shapes = dict.fromkeys(str(shape_of(_sequence(one))) for one in _all_variants(expectation.root))
    except _Unknown:
        return None
    texts = [text.replace("*", "\\*") for text in shapes]
    if "" in texts:
        return None  # the shape of some variant has no line, and no branch of `either` may be empty
    from analysis.expect.parse import parse_expectation

    branches = "} or {\n".join(texts)
    return parse_expectation(texts[0] if len(texts) == 1 else f"either {{\n{branches}}}\n")


def _all_variants(root: Block) -> list[Variant]:
    variants: list[Variant] = []
    lines = 0
    for variant in _variants(root):
        variants.append(variant)
        lines += len(variant)
        if len(variants) > MOST_VARIANTS or lines > MOST_LINES:
            raise _Unknown
    return variants


def _variants(node: Node) -> Iterator[Variant]:
    """Every sequence of lines that the node may stand for; there may be no end of them."""
    match node:
        case PatternLine():
            yield (node,)
        case Block(items):
            yield from _in_order(items)
        case Optional(body):
            yield from _variants(body)
            yield ()
        case Either(branches):
            for branch in branches:
                yield from _variants(branch)
        case AnyOrder(entries):
            for order in permutations(entries):
                yield from _in_order(order)
        case Repeat():
            yield from _repeated(node)


def _in_order(items: Iterable[Node]) -> Iterator[Variant]:
    variants: list[list[PatternLine]] = [[]]
    for item in items:
        more = list(islice(_variants(item), MOST_VARIANTS + 1))
        if len(more) * len(variants) > MOST_VARIANTS:
            raise _Unknown
        if len(more) == 1:
            for variant in variants:
                variant.extend(more[0])
        else:
            variants = [[*one, *other] for one in variants for other in more]
        if sum(map(len, variants)) > MOST_LINES:
            raise _Unknown
    yield from map(tuple, variants)


def _repeated(node: Repeat) -> Iterator[Variant]:
    if node.most is None or node.most - node.least >= MOST_VARIANTS or node.most > MOST_LINES:
        raise _Unknown
    for times in range(node.least, node.most + 1):
        yield from _in_order(repeat(node.body, times))


# --- a variant as a sequence ---


@dataclass(slots=True)
class _Side:
    """What one side has sent. `is_certain`: the number is what it will be, and doesn't hang on a length left open."""

    next: int = 0
    is_certain: bool = True


@dataclass(slots=True)
class _Writer:
    """Writes a variant down, with a length of 1 for one that is left open."""

    lines: list[Line] = field(default_factory=list)
    sides: dict[Role, _Side] = field(default_factory=lambda: {"client": _Side(), "server": _Side()})

    def add(self, line: PatternLine) -> None:
        match line.pattern:
            case LookupPattern():
                self.lines.append(_lookup(line.pattern))
            case ConnectionPattern(number):
                self.sides = {"client": _Side(), "server": _Side()}
                self.lines.append(ConnectionLine(number))
            case SegmentPattern():
                self.lines.append(self._segment(line.pattern))

    def _segment(self, pattern: SegmentPattern) -> SegmentLine:
        me, peer = self.sides[pattern.sender], self.sides[PEER[pattern.sender]]
        numbers = self._numbers(pattern, me)
        ack = _ack(pattern.ack, peer)
        segment = SegmentLine(pattern.sender, pattern.flags, numbers, ack, (), _text(pattern.text))
        me.next = max(me.next, following(segment))
        return segment

    def _numbers(self, pattern: SegmentPattern, me: _Side) -> Numbers:
        if pattern.numbers is None:
            raise _Unknown
        seq, end, length = pattern.numbers.seq, pattern.numbers.end, pattern.numbers.length
        if seq == ANY or (seq != "next" and not me.is_certain):
            raise _Unknown
        start = me.next if seq == "next" else seq
        if length == ANY and pattern.flags == "ACK":
            length = 0  # a segment with bytes would be DATA
        if length == ANY and end != ANY and me.is_certain:
            length = end - start
        if length == ANY:
            if pattern.flags != "DATA" or seq != "next":
                raise _Unknown  # with or without bytes, sent again or not: the shape hangs on it
            me.is_certain = False
            length = 1
        return Numbers(start, start + length, length)


def _ack(ack: int | str | None, peer: _Side) -> int | None:
    if ack == "all":
        return peer.next
    if isinstance(ack, str) or (ack is not None and not peer.is_certain):
        raise _Unknown
    return ack


def _text(glob: Glob | None) -> str | None:
    """A start line with the method, or the status code, that the pattern asks for."""
    if glob is None:
        return None
    if glob.is_literal:
        return glob.pieces[0]
    words = glob.pieces[0].split(" ")  # of which the last may go on where the star is
    needed = 2 if words[0].startswith("HTTP/") else 1
    if len(words) <= needed or not words[0]:
        raise _Unknown
    return " ".join(words[:needed])


def _lookup(pattern: LookupPattern) -> LookupLine:
    globs = (pattern.type, pattern.name, pattern.outcome)
    first = pattern.outcome.pieces[0].split(",")
    if not pattern.type.is_literal or pattern.queries is None or (not pattern.outcome.is_literal and len(first) < 2):
        raise _Unknown
    kind, name, _ = (glob.pieces[0] for glob in globs)
    aliases = ("ALIAS",) * len(pattern.aliases)
    return LookupLine(kind, name, pattern.queries, pattern.transport, aliases, (first[0],))


def _sequence(variant: Variant) -> Sequence:
    writer = _Writer()
    for line in variant:
        writer.add(line)
    return Sequence(tuple(writer.lines), "exact")
