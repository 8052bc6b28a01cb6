"""The tree of an expectation as a flat program, so that matching needs no recursion and no copy of what repeats.

A thread of a match is a place in the program and a stack of registers: one for each `repeat` and `any order` that it is
in. A register of `repeat` holds twice the number of rounds done, plus 1 while the round has matched no line yet; one of
`any order` twice the set of entries that are done, as bits.
"""

from dataclasses import dataclass, field

from analysis.expect.pattern import AnyOrder, Block, Either, Expectation, Node, Optional, PatternLine, Repeat

Registers = tuple[int, ...]
Onward = list[tuple[int, Registers]]  # where a thread goes on, and with what registers


@dataclass(frozen=True, slots=True)
class Match:
    """Match a line, and go on behind."""

    line: PatternLine


@dataclass(frozen=True, slots=True)
class Split:
    """Go on at each of `targets`."""

    targets: tuple[int, ...]

    def onward(self, registers: Registers) -> Onward:
        return [(target, registers) for target in self.targets]


@dataclass(frozen=True, slots=True)
class Push:
    """Enter a group at `head`, with a register more."""

    head: int

    def onward(self, registers: Registers) -> Onward:
        return [(self.head, (*registers, 0))]


@dataclass(frozen=True, slots=True)
class Loop:
    """Head of `repeat`: out at `leave`, or another round at `body`, as the rounds done allow."""

    least: int
    most: int | None
    body: int
    leave: int

    def onward(self, registers: Registers) -> Onward:
        *outer, own = registers
        rounds = own >> 1
        if self.most is None:
            rounds = min(rounds, self.least)  # more make no difference: readings that differ in no more are one
        out = [(self.leave, tuple(outer))] if rounds >= self.least else []
        return out if rounds == self.most else [*out, (self.body, (*outer, rounds << 1 | 1))]


@dataclass(frozen=True, slots=True)
class Again:
    """A round is done: back to the head, unless it matched nothing, which could go on for ever."""

    head: int

    def onward(self, registers: Registers) -> Onward:
        *outer, own = registers
        return [] if own & 1 else [(self.head, (*outer, own + 2))]


@dataclass(frozen=True, slots=True)
class Order:
    """Head of `any order`: an entry that isn't done, or, if all are, out at `leave`."""

    entries: tuple[int, ...]
    leave: int

    def onward(self, registers: Registers) -> Onward:
        done = registers[-1] >> 1
        if done + 1 == 1 << len(self.entries):
            return [(self.leave, registers[:-1])]
        return [(entry, registers) for number, entry in enumerate(self.entries) if not done >> number & 1]


@dataclass(frozen=True, slots=True)
class Done:
    """An entry is done: back to the head."""

    entry: int
    head: int

    def onward(self, registers: Registers) -> Onward:
        return [(self.head, (*registers[:-1], registers[-1] | 2 << self.entry))]


@dataclass(frozen=True, slots=True)
class End:
    """All that was expected is matched."""


Step = Match | Split | Push | Loop | Again | Order | Done | End
Stack = tuple[int | None, ...]


@dataclass(slots=True)
class Program:
    """`leasts`: at each place, for each register the rounds from which on fewer are as good as more; or None.

    Empty where that is None for all.
    """

    steps: list[Step] = field(default_factory=list)
    leasts: list[Stack] = field(default_factory=list)


def compile_expectation(expectation: Expectation) -> Program:
    """The program of an expectation: as long as its text, whatever its bounds."""
    program = Program()
    _add(program, expectation.root, ())
    _put(program, End(), ())
    return program


def _put(program: Program, step: Step, stack: Stack) -> int:
    program.steps.append(step)
    program.leasts.append(stack if any(least is not None for least in stack) else ())
    return len(program.steps) - 1


def _add(program: Program, node: Node, stack: Stack) -> None:
    match node:
        case PatternLine():
            _put(program, Match(node), stack)
        case Block(items):
            for item in items:
                _add(program, item, stack)
        case Optional(body):
            head = _put(program, Split(()), stack)
            _add(program, body, stack)
            program.steps[head] = Split((head + 1, len(program.steps)))
        case Either(branches):
            _add_either(program, branches, stack)
        case AnyOrder(entries):
            _add_order(program, entries, stack)
        case Repeat():
            _add_repeat(program, node, stack)


def _add_either(program: Program, branches: tuple[Node, ...], stack: Stack) -> None:
    head = _put(program, Split(()), stack)
    starts: list[int] = []
    ends: list[int] = []
    for branch in branches:
        starts.append(len(program.steps))
        _add(program, branch, stack)
        ends.append(_put(program, Split(()), stack))
    program.steps[head] = Split(tuple(starts))
    for end in ends:
        program.steps[end] = Split((len(program.steps),))


def _add_order(program: Program, entries: tuple[Node, ...], stack: Stack) -> None:
    _put(program, Push(len(program.steps) + 1), stack)
    inner = (*stack, None)
    head = _put(program, Order((), 0), inner)
    starts: list[int] = []
    for number, entry in enumerate(entries):
        starts.append(len(program.steps))
        _add(program, entry, inner)
        _put(program, Done(number, head), inner)
    program.steps[head] = Order(tuple(starts), len(program.steps))


def _add_repeat(program: Program, node: Repeat, stack: Stack) -> None:
    least = 0 if _may_be_empty(node.body) else node.least  # rounds that match nothing make up for those that lack
    _put(program, Push(len(program.steps) + 1), stack)
    has_slack = node.most is not None and least < node.most
    inner = (*stack, least if has_slack else None)
    head = _put(program, Loop(least, node.most, 0, 0), inner)
    _add(program, node.body, inner)
    _put(program, Again(head), inner)
    program.steps[head] = Loop(least, node.most, head + 1, len(program.steps))


def _may_be_empty(node: Node) -> bool:
    match node:
        case PatternLine():
            return False
        case Block(items) | AnyOrder(items):
            return all(_may_be_empty(item) for item in items)
        case Either(branches):
            return any(_may_be_empty(branch) for branch in branches)
        case Repeat(body, least, _):
            return least == 0 or _may_be_empty(body)
    return True
