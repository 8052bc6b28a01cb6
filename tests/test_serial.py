"""Sequence numbers around 2^32."""

from hypothesis import example, given
from hypothesis import strategies as st

from analysis.tcp.serial import CIRCLE, HALF, add, distance, unwrap

NUMBERS = st.one_of(
    st.integers(0, CIRCLE - 1), st.integers(CIRCLE - 5, CIRCLE - 1), st.integers(0, 5), st.integers(HALF - 3, HALF + 3)
)
STEPS = st.integers(-HALF, HALF - 1)


@given(NUMBERS, STEPS)
@example(CIRCLE - 1, 1)
@example(0, -1)
def test_distance_undoes_add(number: int, step: int) -> None:
    assert distance(number, add(number, step)) == step


@given(NUMBERS, NUMBERS)
def test_numbers_stay_on_the_circle_and_one_is_ahead_of_the_other(one: int, other: int) -> None:
    assert -HALF <= distance(one, other) < HALF
    if distance(one, other) != -HALF:
        assert distance(one, other) == -distance(other, one)


@given(st.integers(0, 1 << 40), STEPS)
@example(CIRCLE - 1, 1)
@example((1 << 33) + 7, -8)
def test_unwrap_finds_the_number_that_was_meant(near: int, step: int) -> None:
    assert unwrap((near + step) % CIRCLE, near) == near + step
