"""The largest amount that passes a test which, once failed, stays failed."""

from collections.abc import Callable


def largest(passes: Callable[[int], bool], most: int) -> int:
    """The largest n of 0..most with `passes(n)`; 0 is never asked. About log2(most) questions."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if passes(middle) else (low, middle - 1)
    return low
