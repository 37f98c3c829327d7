"""Fixtures as the same bytes every time: keys sorted, no spaces, and no date in the file that gzip makes of them."""

import gzip
import json
from pathlib import Path
from typing import Any

Recorded = dict[str, Any]

_LEVEL = 9


def read(path: Path) -> Recorded:
    """A recorded fixture."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        recorded: Recorded = json.load(file)
    return recorded


def to_bytes(recorded: Recorded) -> bytes:
    """The file's bytes: a function of the content alone."""
    text = json.dumps(recorded, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    # zlib's own header, whose field "operating system" is the same everywhere.
    packed = bytearray(gzip.compress(text.encode("ascii"), _LEVEL, mtime=0))
    packed[9] = 255
    return bytes(packed)


def write(path: Path, recorded: Recorded) -> bool:
    """Write the fixture; False where the file already holds exactly these bytes."""
    content = to_bytes(recorded)
    if path.exists() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return True
