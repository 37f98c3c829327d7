"""Files that a process still maps although nobody can reach them by name any more: deleted or replaced models."""

import os
from dataclasses import dataclass
from pathlib import Path

_DELETED = " (deleted)"


@dataclass(frozen=True, slots=True)
class Mapping:
    """`path` leads to the file itself through the process's list of mappings, which only root may follow."""

    path: str
    is_readable: bool


def deleted_mapping(pid: int, path: str, proc: Path = Path("/proc")) -> Mapping | None:
    """The file that the process maps under this absolute path of its own, if it is not what lies there now.

    None: it maps none, or the one that lies there, or the list is closed to us. Only mappings from the file's start
    count, since that is where a header is.
    """
    home = proc / str(pid)
    try:
        lines = (home / "maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    wanted = path + _DELETED
    for line in lines:
        columns = line.split(None, 5)
        if len(columns) == 6 and columns[5] == wanted and int(columns[2], 16) == 0:
            first, _, last = columns[0].partition("-")
            # The kernel writes the ends with 8 digits at least in the list, and without leading zeros as names.
            link = home / "map_files" / f"{int(first, 16):x}-{int(last, 16):x}"
            return Mapping(str(link), os.access(link, os.R_OK))
    return None
