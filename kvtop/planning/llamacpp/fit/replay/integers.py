"""Integers as C++ computes with them (common/fit.cpp, b11434)."""

UINT32_MAX = 2**32 - 1


class DividedByZeroError(Exception):
    """The engine divides integers by zero here, which ends the process."""


def divided(dividend: int, divisor: int) -> int:
    """Towards zero. Raises DividedByZeroError."""
    if divisor == 0:
        raise DividedByZeroError
    quotient = abs(dividend) // abs(divisor)
    return quotient if (dividend < 0) == (divisor < 0) else -quotient


def as_uint32(value: int) -> int:
    """The cast that drops what does not fit: a negative value becomes a huge one."""
    return value & UINT32_MAX


def step_between(distance: int, target: int, low: int, high: int) -> int:
    """The next step of the false position method: layers from `low` bytes towards `target`, 1 to `distance` - 1."""
    step = as_uint32(divided(distance * (target - low), high - low))
    return min(max(step, 1), distance - 1)
