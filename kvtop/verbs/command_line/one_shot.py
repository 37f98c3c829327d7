"""Commands that compute once and leave."""

import gc


def collect_rarely() -> None:
    """Look for cycles a hundred times less often: a plan makes many small values, no cycles, and the process ends."""
    gc.set_threshold(100_000, 50, 100)
