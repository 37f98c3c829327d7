"""Model files of running servers: found through the server's own view of the file system, read once."""

import os
from dataclasses import dataclass
from pathlib import Path

from kvtop.domain.model_file import GgufHeader, ModelFileError
from kvtop.domain.sample import Failure
from kvtop.sources.model_files.gguf import read_gguf
from kvtop.sources.model_files.locate import Located, ModelNotFoundError, Vantage, locate_file


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A model as a server names it. `pid` None: only this machine's own paths can be tried."""

    path: str
    pid: int | None
    cwd: str | None = None


@dataclass(slots=True)
class _Read:
    stamp: tuple[int, int]
    header: GgufHeader | None
    failure: Failure | None


class LiveModels:
    """Headers by request, read again only when the file changed. File systems may hang: call from a thread."""

    def __init__(self) -> None:
        self._read: dict[str, _Read] = {}

    def load(self, request: ModelRequest) -> tuple[str, GgufHeader | None, Failure | None]:
        """(key, header, failure): one of the two is None. The key names the file, not the server."""
        try:
            located = _locate(request)
            stat = Path(located.path).stat()
        except ModelNotFoundError as error:
            return request.path, None, Failure(f"model file {request.path}", str(error), _remedy(str(error)))
        except OSError as error:
            return request.path, None, Failure(f"model file {request.path}", str(error.strerror), _remedy(str(error)))
        stamp = (stat.st_mtime_ns, stat.st_size)
        known = self._read.get(located.path)
        if known is None or known.stamp != stamp:
            known = _Read(stamp, None, None)
            try:
                known.header = read_gguf(located.path, parts=located.parts)
            except (ModelFileError, OSError) as error:
                known.failure = Failure(request.path, str(error), "check that the file is a whole GGUF model")
            self._read[located.path] = known
        return located.path, known.header, known.failure


def _locate(request: ModelRequest) -> Located:
    """As the server sees it first; where its root is closed to us, the same path on this machine may be the file."""
    if request.pid is None:
        return locate_file(request.path, Vantage())
    try:
        return locate_file(request.path, Vantage(root=f"/proc/{request.pid}/root", cwd=request.cwd))
    except (ModelNotFoundError, OSError):
        if not request.path.startswith("/") or not os.access(request.path, os.R_OK):
            raise
        return locate_file(request.path, Vantage())


def _remedy(reason: str) -> str:
    if "ermission" in reason:
        return "run kvtop as the server's user or as root"
    return "check the path; kvtop looks for it as the server sees it"
