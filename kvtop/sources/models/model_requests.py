"""Which model files a running server has, as it names them itself: its model, and llama.cpp's draft model."""

from dataclasses import dataclass
from enum import Enum

from kvtop.domain.server import ServerReading
from kvtop.sources.processes.discovery import FoundProcess

_VARIABLES = (
    *("HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "LLAMA_CACHE", "OLLAMA_MODELS"),
)
"""What decides where an engine looks (hub_cache.py, locate.py)."""


class ModelKind(Enum):
    """How a server names a model."""

    FILE = "a GGUF file"
    HUB_FILE = "a GGUF file on the hub, USER/REPO[:QUANT]"
    CHECKPOINT = "a directory, or an id on the hub"


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A model as a server names it (`path`). `pid` None: only this machine's own paths can be tried.

    `environ` holds the variables that decide where caches lie; None: the server's could not be read. `home` stands in
    for a HOME that is not known. `is_contained`: the server has a file system of its own. `started_at`: Unix seconds.
    `revision` and `download_directory` are those of a checkpoint, `file` is `--hf-file`.
    """

    path: str
    pid: int | None
    cwd: str | None = None
    kind: ModelKind = ModelKind.FILE
    environ: tuple[tuple[str, str], ...] | None = ()
    home: str | None = None
    is_contained: bool = False
    started_at: float | None = None
    revision: str | None = None
    download_directory: str | None = None
    file: str | None = None


def model_requests(
    reading: ServerReading, found: FoundProcess | None
) -> tuple[ModelRequest | None, ModelRequest | None]:
    """(model, draft model); None where there is none or none is named. `found` None: a server without a process here.

    A remote server names files of another machine: ask only for servers of this one.
    """
    if reading.engine == "llama.cpp":
        repository = _option(reading, "hf-repo")
        path = reading.model.path if reading.model.path != "none" else None
        draft, draft_repository = _option(reading, "spec-draft-model"), _option(reading, "spec-draft-hf")
        return (
            _gguf(found, path, repository, _option(reading, "hf-file")),
            _gguf(found, draft, draft_repository, None),
        )
    name = _option(reading, "model") or _option(reading, "model-path") or reading.model.path
    if name is None:
        return None, None
    if name.endswith(".gguf"):
        return _request(found, name, ModelKind.FILE), None
    revision, directory = _option(reading, "revision"), _option(reading, "download-dir")
    return _request(found, name, ModelKind.CHECKPOINT, revision=revision, download_directory=directory), None


def _gguf(
    found: FoundProcess | None, path: str | None, repository: str | None, file: str | None
) -> ModelRequest | None:
    if path is not None:
        return _request(found, path, ModelKind.FILE)
    return None if repository is None else _request(found, repository, ModelKind.HUB_FILE, file=file)


def _request(
    found: FoundProcess | None,
    name: str,
    kind: ModelKind,
    *,
    revision: str | None = None,
    download_directory: str | None = None,
    file: str | None = None,
) -> ModelRequest:
    if found is None:
        return ModelRequest(name, None, None, kind, (), None, False, None, revision, download_directory, file)
    process = found.process
    environ = tuple((name, found.environ[name]) for name in _VARIABLES if name in found.environ)
    return ModelRequest(
        path=name,
        pid=process.pid,
        cwd=process.cwd,
        kind=kind,
        environ=None if process.environ is None else environ,
        # The list of users here says nothing of a container's.
        home=None if process.container is not None else home_of(process.user),
        is_contained=process.container is not None,
        started_at=process.started_at,
        revision=revision,
        download_directory=download_directory,
        file=file,
    )


def home_of(user: str | None) -> str | None:
    """The home of a user of this machine."""
    import pwd  # noqa: PLC0415  POSIX only

    try:
        return None if user is None else pwd.getpwnam(user).pw_dir
    except KeyError:
        return None


def _option(reading: ServerReading, name: str) -> str | None:
    return None if reading.launch is None else reading.launch.value(name)
