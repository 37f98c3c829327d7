"""Recorded answers of the engines, read once, and a name for each, so that a failure says which and -k chooses it."""

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parents[1] / "fixtures" / "oracle"


@cache
def recorded(name: str) -> dict[str, Any]:
    """The JSON of a file there."""
    with gzip.open(FIXTURES / name, "rt", encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


def numbered(names: Iterable[str]) -> list[str]:
    """ "gemma-3-0", "gemma-3-1", …: each name with its count so far."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        found.append(f"{name}-{seen[name]}")
        seen[name] += 1
    return found
