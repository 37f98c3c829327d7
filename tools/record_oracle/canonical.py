"""Fixtures as the same bytes every time: keys sorted, no spaces, and no date in the file that gzip makes of them."""

import gzip
import json
from pathlib import Path
from typing import Any

Recorded = dict[str, Any]

_LEVEL = 9
_LISTS = ("cases", "refused", "rows")


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


def thinned(recorded: Recorded, every: int) -> Recorded:
    """The same fixture with every so many-th of its cases, and the number where it is not 1."""
    if every == 1:
        return recorded
    lists: Recorded = {key: recorded[key][::every] for key in _LISTS if key in recorded}
    return {**recorded, **lists, "every": every}


def keep(path: Path, recorded: Recorded, newest: Recorded | None) -> bool:
    """Write the fixture, or, where only some cases of the newest version were asked, say how many are as they were.

    `newest` is what the answers are compared with then. True where a file changed.
    """
    if newest is None:
        return write(path, recorded)
    kinds = [key for key in _LISTS if key in newest]
    pairs = [pair for key in kinds for pair in zip(newest[key], recorded[key], strict=True)]
    unequal = [(ours, theirs) for ours, theirs in pairs if ours != theirs]
    print(f"  {len(pairs) - len(unequal)} of {len(pairs)} are as recorded")
    for pair in unequal[:3]:
        for name, one in zip(("recorded", "now     "), pair, strict=True):
            print(f"    {name} {json.dumps(one, sort_keys=True)[:1200]}")
    return False


def write(path: Path, recorded: Recorded) -> bool:
    """Write the fixture; False where the file already holds exactly these bytes."""
    content = to_bytes(recorded)
    if path.exists() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return True
