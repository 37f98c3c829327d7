"""The search that tells the largest context."""

from hypothesis import given
from hypothesis import strategies as st

from kvtop.planning.bisection import largest


@given(border=st.integers(0, 10_000), most=st.integers(0, 10_000))
def test_it_finds_the_border_and_asks_little(border: int, most: int) -> None:
    asked = []

    def passes(amount: int) -> bool:
        asked.append(amount)
        return amount <= border

    assert largest(passes, most) == min(border, most)
    assert len(asked) <= most.bit_length() + 1
    assert 0 not in asked
