"""Steps along a scale: around a ring of words, and up and down numbers."""

from collections.abc import Sequence

MOST_TOKENS = 1 << 26
"""More than any model was trained for: where turning a length up ends."""


def around(ring: Sequence[str], at: str, step: int) -> str:
    """The next word of a ring; a word that is not in it steps in at its beginning or end."""
    if at not in ring:
        return ring[0] if step > 0 else ring[-1]
    return ring[(ring.index(at) + step) % len(ring)]


def doubled(at: int, step: int) -> int:
    """Twice or half of it."""
    return at * 2 if step > 0 else at // 2


def finer(at: int, step: int, grain: int) -> int:
    """An eighth of the next lower power of two more or less, on multiples of `grain`."""
    size = max(grain, 1 << max((at.bit_length() - 4), 0))
    moved = at + step * size
    return max(moved // size * size, grain)
