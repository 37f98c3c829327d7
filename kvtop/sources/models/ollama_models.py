"""Which `llama-server` runs which of Ollama's models: joined by the digest of the model's file.

Ollama starts a `llama-server` for each model with the path of a blob; only Ollama knows its name and when it leaves.
Its manifests say which blob a name means (`manifests/registry.ollama.ai/library/NAME/TAG`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from kvtop.domain.engine_report import HostedModel
from kvtop.domain.server import ServerReading
from kvtop.sources.engines import llamacpp, ollama
from kvtop.sources.model_files.locate import ModelNotFoundError, ProcessFilesystem, locate_ollama
from kvtop.sources.models.model_requests import home_of
from kvtop.sources.processes.discovery import FoundProcess
from kvtop.sources.rights.reading import read_as

_BLOB = re.compile(r"sha256-[0-9a-f]{64}")


class OllamaModels:
    """Blobs by name, read once for each process of Ollama and name. Reads files: call `learn` from a thread."""

    def __init__(self) -> None:
        self._blobs: dict[tuple[int, str], str | None] = {}

    def unknown(self, readings: Sequence[ServerReading]) -> bool:
        """Whether there are names whose blob has not been looked for."""
        return any(key not in self._blobs for key, _ in _hosted(readings))

    def learn(self, readings: Sequence[ServerReading], found: Mapping[int, FoundProcess]) -> None:
        """Look up the blobs of all names; a manifest that cannot be read is not tried again."""
        blobs: dict[tuple[int, str], str | None] = {}
        for (pid, name), _ in _hosted(readings):
            key = (pid, name)
            blobs[key] = self._blobs[key] if key in self._blobs else _blob(name, found.get(pid))
        self._blobs = blobs

    def named(self, readings: Sequence[ServerReading], found: Mapping[int, FoundProcess]) -> list[ServerReading]:
        """The readings, those of Ollama's own servers with the model's name and the moment it leaves."""
        hosted = _hosted(readings)
        return [_completed(reading, self._model_of(reading, hosted, found)) for reading in readings]

    def _model_of(
        self,
        reading: ServerReading,
        hosted: list[tuple[tuple[int, str], HostedModel]],
        found: Mapping[int, FoundProcess],
    ) -> HostedModel | None:
        process = found.get(reading.pids[0]) if reading.pids else None
        if reading.engine != llamacpp.NAME or process is None:
            return None
        own = [(key, model) for key, model in hosted if key[0] == process.process.ppid]
        blob = _digest(reading.model.path)
        for key, model in own:
            if blob is not None and self._blobs.get(key) == blob:
                return model
        # Without manifests there is no doubt only where there is one model and one server.
        siblings = [it for it in found.values() if it.process.ppid == process.process.ppid]
        return own[0][1] if len(own) == len(siblings) == 1 and self._blobs.get(own[0][0]) is None else None


def _hosted(readings: Sequence[ServerReading]) -> list[tuple[tuple[int, str], HostedModel]]:
    return [
        ((reading.pids[0], model.name), model)
        for reading in readings
        if reading.engine == ollama.NAME and reading.pids
        for model in reading.hosted or ()
    ]


def _blob(name: str, found: FoundProcess | None) -> str | None:
    if found is None:
        return None
    process = found.process
    home = None if process.container is not None else home_of(process.user)
    environ = found.environ if process.environ is not None else None
    for root in (f"/proc/{process.pid}/root", "/"):
        filesystem = ProcessFilesystem(root, process.cwd, environ, home)
        try:
            found_at = read_as(process.pid, f"manifest of {name}", partial(locate_ollama, name, filesystem))
            return _digest(found_at.path)
        except (ModelNotFoundError, OSError):
            if process.container is not None:
                return None  # the same path here is another file
    return None


def _digest(path: str | None) -> str | None:
    found = _BLOB.search(path or "")
    return None if found is None else found[0]


def _completed(reading: ServerReading, model: HostedModel | None) -> ServerReading:
    if model is None:
        return reading
    return replace(reading, model=replace(reading.model, name=model.name, expires_at=model.expires_at))
