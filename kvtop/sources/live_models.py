"""Model files of running servers: found through the server's own view of the file system, read once."""

import os
from dataclasses import dataclass
from pathlib import Path

from kvtop.domain.model_file import GgufHeader, ModelFileError
from kvtop.domain.sample import Failure
from kvtop.sources.model_files.gguf import read_gguf


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A model as a server names it. `pid` None: only this machine's own paths can be tried."""

    path: str
    pid: int | None


@dataclass(slots=True)
class _Read:
    stamp: tuple[int, int]
    header: GgufHeader | None
    failure: Failure | None


class LiveModels:
    """Headers by request, read again only when the file changed."""

    def __init__(self) -> None:
        self._read: dict[str, _Read] = {}

    def load(self, request: ModelRequest) -> tuple[str, GgufHeader | None, Failure | None]:
        """(key, header, failure): one of the two is None. The key names the file, not the server."""
        located = _locate(request)
        if isinstance(located, Failure):
            return request.path, None, located
        path, stat = located
        stamp = (stat.st_mtime_ns, stat.st_size)
        known = self._read.get(path)
        if known is None or known.stamp != stamp:
            known = _Read(stamp, None, None)
            try:
                known.header = read_gguf(path)
            except (ModelFileError, OSError) as error:
                known.failure = Failure(request.path, str(error), "check that the file is a whole GGUF model")
            self._read[path] = known
        return path, known.header, known.failure


def _locate(request: ModelRequest) -> tuple[str, os.stat_result] | Failure:
    """The file as the server sees it: its own root (containers) first for absolute paths, its cwd for relative ones."""
    relative = not request.path.startswith("/")
    candidates = []
    if request.pid is not None:
        base = f"/proc/{request.pid}/cwd" if relative else f"/proc/{request.pid}/root"
        candidates.append(f"{base}/{request.path.lstrip('/')}")
    if not relative:
        candidates.append(request.path)
    reason = "it is a relative path of a process that is not on this machine"
    for candidate in candidates:
        try:
            return str(Path(candidate).resolve()) if candidate == request.path else candidate, Path(candidate).stat()
        except PermissionError:
            reason = "permission denied"
        except OSError as error:
            reason = (error.strerror or "unreadable").lower()
    remedy = "run kvtop as the server's user or as root" if reason == "permission denied" else "check the path"
    return Failure(f"model file {request.path}", reason, remedy)
