"""Model files of running servers: found through the server's own view of the file system, read once."""

from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from kvtop.domain.model_file import ModelFile, ModelFileError
from kvtop.domain.sample import Failure
from kvtop.sources.model_files.gguf import read_gguf
from kvtop.sources.model_files.huggingface import read_checkpoint
from kvtop.sources.model_files.locate import Located, locate_checkpoint, locate_file, locate_hf
from kvtop.sources.model_files.mapped import Mapping, deleted_mapping
from kvtop.sources.model_files.process_filesystem import ModelNotFoundError, ProcessFilesystem
from kvtop.sources.models.model_requests import ModelKind, ModelRequest
from kvtop.sources.rights.permission_bits import CLOSED, CLOSED_REMEDY
from kvtop.sources.rights.reading import as_process

__all__ = ["LiveModels", "ModelKind", "ModelRequest"]

Stamp = tuple[tuple[str, int, int], ...]

_SHARD_LIMIT = 512
"""Files of a directory that are watched for changes."""
_CHANGE_SECONDS = 2.0
"""Clocks of file systems and of processes are not the same one."""


@dataclass(frozen=True, slots=True)
class _Read:
    stamp: Stamp
    model: ModelFile | None
    failure: Failure | None


class LiveModels:
    """Model files by request, read again only when they changed. File systems may hang: call from a thread."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, ModelRequest], _Read] = {}

    def load(self, request: ModelRequest) -> tuple[str, ModelFile | None, Failure | None]:
        """(key, model, failure). The key names the file, not the server. Files are opened with the server's own rights.

        Both are there where the file can be read but may not be what the server runs: it changed after the start.
        """
        try:
            with nullcontext() if request.pid is None else as_process(request.pid):
                return self._load(request)
        except OSError as error:  # its rights cannot be told, or taken
            failure = Failure(f"model file {request.path}", error.strerror or str(error), _remedy(""))
            return request.path, None, failure

    def _load(self, request: ModelRequest) -> tuple[str, ModelFile | None, Failure | None]:
        source = f"model file {request.path}"
        try:
            filesystem, located = _located(request)
            stamp = _stamp(located)
        except (ModelNotFoundError, OSError) as error:
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            return request.path, None, Failure(source, reason, _remedy(reason))
        key = (located.path, request)
        known = self._read.get(key)
        if known is None or known.stamp != stamp:
            known = self._read[key] = _read(request, filesystem, located, stamp)
        return located.path, known.model, known.failure

    def forget_all_but(self, requests: Collection[ModelRequest]) -> None:
        """Let go of files that no server runs any more: one that is started again and again has a new pid each time."""
        self._read = {key: it for key, it in self._read.items() if key[1] in requests}


def _read(request: ModelRequest, filesystem: ProcessFilesystem, located: Located, stamp: Stamp) -> _Read:
    source = f"model file {request.path}"
    is_directory = Path(located.path).is_dir()
    try:
        if is_directory:
            return _Read(stamp, read_checkpoint(located.path, resolve=filesystem.followed), _changed(request, stamp))
        gone = _deleted(request, filesystem, filesystem.inside(located.path))
        if gone is not None and not gone.is_readable:
            reason = "the server still maps the file that lay here when it started; what lies here now is another one"
            return _Read(stamp, None, Failure(source, reason, "restart the server, or run kvtop as root"))
        if gone is not None:
            return _Read(stamp, read_gguf(gone.path), None)
        return _Read(stamp, read_gguf(located.path, parts=located.parts), _changed(request, stamp))
    except (ModelFileError, OSError) as error:
        whole = "holds config.json and the safetensors weights" if is_directory else "is a whole GGUF model"
        return _Read(stamp, None, Failure(source, str(error), f"check that it {whole}"))


def _located(request: ModelRequest) -> tuple[ProcessFilesystem, Located]:
    """As the server sees it first; where its root is closed to us, the same path on this machine may be the file.

    Not for a container: what lies at that path here has nothing to do with it.
    """
    environ = None if request.environ is None else dict(request.environ)
    here = ProcessFilesystem(cwd=request.cwd, environ=environ, home=request.home)
    if request.pid is None:
        return here, _locate(request, here)
    root = f"/proc/{request.pid}/root"
    theirs = here if _is_our_root(root) else ProcessFilesystem(root, request.cwd, environ, request.home)
    try:
        return theirs, _locate(request, theirs)
    except (ModelNotFoundError, OSError) as error:
        if theirs is here or request.is_contained or not _is_closed(root):
            raise
        try:
            return here, _locate(request, here)
        except (ModelNotFoundError, OSError):
            raise error from None


def _locate(request: ModelRequest, filesystem: ProcessFilesystem) -> Located:
    if request.kind is ModelKind.HUB_FILE:
        return locate_hf(request.path, filesystem, file=request.file)
    if request.kind is ModelKind.CHECKPOINT:
        directory = request.download_directory
        return locate_checkpoint(request.path, filesystem, revision=request.revision, download_directory=directory)
    try:
        return locate_file(request.path, filesystem)
    except ModelNotFoundError:
        gone = _deleted(request, filesystem, filesystem.absolute(request.path))
        if gone is None or not gone.is_readable:
            raise
        return Located(gone.path, "the file was deleted after the server opened it")


def _deleted(request: ModelRequest, filesystem: ProcessFilesystem, path: str) -> Mapping | None:
    """What the server still maps under its own path, or under where its links lead: the kernel knows the file by that.

    A model in a hub cache is a link to its blob.
    """
    return None if request.pid is None else deleted_mapping(request.pid, filesystem.target(path))


def _is_our_root(root: str) -> bool:
    try:
        return Path(root).samefile("/")
    except OSError:
        return False


def _is_closed(root: str) -> bool:
    try:
        Path(root).stat()
    except OSError:
        return True
    return False


def _stamp(located: Located) -> Stamp:
    """What a change of the model shows in: size and change time of its files, and of a directory's own list."""
    path = Path(located.path)
    files = [Path(part) for part in located.parts] or [path]
    if path.is_dir():
        files = [path, *sorted(it for it in path.iterdir() if it.suffix in {".json", ".safetensors"})[:_SHARD_LIMIT]]
    rows = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            rows.append((str(file), -1, -1))  # a dangling link: reading will say so
        else:
            rows.append((str(file), status.st_ctime_ns, status.st_size))
    return tuple(rows)


def _changed(request: ModelRequest, stamp: Stamp) -> Failure | None:
    """Said where a file is newer than the server: weights are read at the start. Files of a hub cache never change."""
    if request.started_at is None or "/snapshots/" in stamp[0][0] or request.kind is ModelKind.HUB_FILE:
        return None
    is_file = len(stamp) == 1 or not Path(stamp[0][0]).is_dir()
    newest = max(changed_ns for _, changed_ns, _ in (stamp if is_file else stamp[1:] or stamp))
    if newest / 1e9 <= request.started_at + _CHANGE_SECONDS:
        return None
    return Failure(
        f"model file {request.path}",
        "changed or replaced since the server started: figures are for what lies there now",
        "restart the server to be sure that it runs this file",
    )


def _remedy(reason: str) -> str:
    if CLOSED in reason:
        return CLOSED_REMEDY
    if "ermission" in reason:
        return "run kvtop as the server's user or as root"
    return "check the path; kvtop looks for it as the server sees it"
