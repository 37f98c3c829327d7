"""How many processors the tests may use: a container's share of a large machine is often small."""

import os
from math import ceil
from pathlib import Path

CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def processors(limit: Path = CGROUP_LIMIT) -> int:
    """Those that this process may run on, or fewer where its control group has a quota ("200000 100000" is two)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = limit.read_text(encoding="ascii").split()
        return max(1, min(allowed, ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no control group, or "max 100000"
        return allowed
