"""Arithmetic of 32-bit sequence numbers: circular, so "greater" means "less than half a circle ahead".

RFC 1982 (serial numbers) with SERIAL_BITS = 32, as RFC 9293 §3.4 uses them.
"""

CIRCLE = 1 << 32
HALF = CIRCLE >> 1


def add(number: int, count: int) -> int:
    """The number `count` places on, modulo 2^32."""
    return (number + count) % CIRCLE


def distance(start: int, end: int) -> int:
    """How far `end` is ahead of `start`: -2^31 .. 2^31 - 1, negative if it is behind."""
    return (end - start + HALF) % CIRCLE - HALF


def unwrap(number: int, near: int) -> int:
    """The integer congruent to `number` modulo 2^32 that is nearest to `near`.

    Turns wire numbers into ones that only grow: of two candidates the nearer is meant, since no window
    spans half the circle (RFC 7323 §2.3).
    """
    return near + distance(near % CIRCLE, number)
