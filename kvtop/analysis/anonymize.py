"""Other names for users, hosts, models and containers, the same ones wherever they occur: for files one hands on."""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from kvtop.domain.device import Device
from kvtop.domain.launch import LaunchOption
from kvtop.domain.model_file import Checkpoint, GgufHeader
from kvtop.domain.process import Process
from kvtop.domain.sample import Sample
from kvtop.domain.texts import with_texts

_HOME = re.compile(r"(?<=/home/)[^/\s:]+|(?<=/Users/)[^/\s:]+")
_ADDRESS = re.compile(r"(?<![\d.])(?!127\.|0\.0\.0\.0)(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
_MODEL_OPTIONS = frozenset(
    {"model", "hf-repo", "hf-file", "alias", "served-model-name", "spec-draft-model", "spec-draft-hf", "mmproj", "lora"}
    | {"draft-model", "model-path", "model-id", "adapter-path", "tokenizer", "model-url", "mmproj-url"}
)
_OWN_METADATA = re.compile(r"general\.(?!architecture$|type$|file_type$|alignment$|quantization_version$|size_label$)")
_LOCAL = frozenset({"", "localhost", "127.0.0.1", "0.0.0.0", "::1", "::"})
_COMMON_USERS = frozenset({"root", "nobody"})


@dataclass(slots=True)
class Pseudonyms:
    """Names given so far. One object for everything that is to be consistent: a recording, or all files of a report."""

    names: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    _pattern: re.Pattern[str] | None = None
    _files: dict[int, tuple[object, int, object]] = field(default_factory=dict)

    def anonymised(self, sample: Sample) -> Sample:
        """The Sample with every known name replaced, in paths, options and messages too; figures stay as they are."""
        self._learn(sample)
        special = {
            LaunchOption: self._option,
            Device: self._device,
            Process: self._process,
            GgufHeader: self._model_file,
            Checkpoint: self._model_file,
        }
        return with_texts(sample, self.text, special)

    def text(self, text: str) -> str:
        """The text with every name replaced. Names are replaced as whole words, the longest first."""
        if self._pattern is None:
            longest_first = sorted(self.names, key=len, reverse=True)
            words = "|".join(map(re.escape, longest_first))
            self._pattern = re.compile(rf"(?<![\w-])(?:{words})(?![\w-])" if words else r"(?!)")
        return self._pattern.sub(lambda found: self.names[found[0]], text)

    def _learn(self, sample: Sample) -> None:
        self._name("host", sample.host)
        for process in sample.processes:
            self._name("user", process.user)
            if process.container is not None:
                self._name("container", process.container.name or process.container.id)
                self._same(process.container.id, process.container.name or process.container.id)
                self._same(process.container.id[:12], process.container.name or process.container.id)
            for address in process.addresses:
                self._name("host", address)
        for reading in sample.servers:
            for url in (reading.url, f"//{reading.id}"):
                self._name("host", _remote_host(url))
            options = reading.launch.options if reading.launch is not None else ()
            models = [reading.model.path, reading.model.name, reading.model_key]
            self._model(*models, *(it.value for it in options if it.name in {"model", "hf-repo", "alias"}))
            self._model(reading.draft_key)
            self._models(tuple(hosted.name for hosted in reading.hosted or ()))
            for hosted in reading.hosted or ():
                self._model(hosted.name)
                self._name("digest", hosted.digest)
                self._name("host", _remote_host(hosted.url))
            self._models(tuple(option.value for option in options if option.name in _MODEL_OPTIONS))
        for key, model in sample.models.items():
            self._model(key, model.path)
        for text in _texts(sample):
            for user in _HOME.findall(text):
                self._name("user", user)
            for address in _ADDRESS.findall(text):
                self._name("host", address)

    def _models(self, names: tuple[str, ...]) -> None:
        for name in names:
            self._model(name)

    def _model(self, *known: str | None) -> None:
        """One model under all its names: path, file name, name without suffix, repository."""
        words: list[str] = []
        for name in known:
            if name and name not in {"none", "***"}:
                base = posixpath.basename(name.rstrip("/"))
                words += [name, base, base.removesuffix(".gguf"), base.partition(":")[0]]
        given = next((self.names[word] for word in words if word in self.names), None)
        for word in words:
            if word and word not in self.names:
                if given is None:
                    given = self._next("model")
                self.names[word] = given
                self._pattern = None

    def _name(self, kind: str, name: str | None) -> None:
        if name and name not in self.names and name not in _COMMON_USERS and name not in _LOCAL:
            self.names[name] = self._next(kind)
            self._pattern = None

    def _same(self, name: str, known: str) -> None:
        """`name` is another word for what `known` names."""
        if name and name not in self.names and known in self.names:
            self.names[name] = self.names[known]
            self._pattern = None

    def _next(self, kind: str) -> str:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return f"{kind}-{self.counts[kind]}"

    def _option(self, value: object) -> object:
        assert isinstance(value, LaunchOption)
        return replace(value, value=self.text(value.value), detail=self.text(value.detail))

    def _device(self, value: object) -> object:
        assert isinstance(value, Device)
        self._name("uuid", value.uuid)
        return replace(value, uuid=value.uuid and self.names[value.uuid], note=self.text(value.note))

    def _process(self, value: object) -> object:
        """Names in argv go; the directories of program and start say more of a person than of memory."""
        assert isinstance(value, Process)
        return replace(
            value,
            name=self.text(value.name),
            argv=None if value.argv is None else tuple(map(self.text, value.argv)),
            executable=value.executable and self.text(posixpath.basename(value.executable)),
            cwd=None,
            environ=None
            if value.environ is None
            else tuple((name, self.text(words)) for name, words in value.environ if not words.startswith("/")),
            user=value.user and self.text(value.user),
            addresses=tuple(map(self.text, value.addresses)),
            container=value.container
            and replace(
                value.container,
                id=self.text(value.container.id),
                name=value.container.name and self.text(value.container.name),
            ),
            unreadable=tuple(map(self.text, value.unreadable)),
            notes=tuple(map(self.text, value.notes)),
        )

    def _model_file(self, value: object) -> object:
        """The same object for the same file: whoever compares by identity must see that nothing changed."""
        known = self._files.get(id(value))
        if known is None or known[0] is not value or known[1] != len(self.names):
            changed = self._gguf(value) if isinstance(value, GgufHeader) else self._checkpoint(value)
            known = (value, len(self.names), changed)
            self._files[id(value)] = known
        return known[2]

    def _gguf(self, value: GgufHeader) -> GgufHeader:
        kept = {key: item for key, item in value.metadata.items() if _OWN_METADATA.match(key) is None}
        parts = tuple(f"part-{index + 1}" for index in range(len(value.parts)))
        notes = tuple(map(self.text, value.notes))
        return replace(value, path=self.text(value.path), parts=parts, metadata=kept, notes=notes)

    def _checkpoint(self, value: object) -> object:
        if not isinstance(value, Checkpoint):
            return value
        kept = {key: item for key, item in value.config.items() if key != "_name_or_path"}
        return replace(value, path=self.text(value.path), config=kept, notes=tuple(map(self.text, value.notes)))


def _remote_host(url: str | None) -> str | None:
    try:
        host = urlsplit(url or "").hostname
    except ValueError:
        return None
    return None if host is None or host in _LOCAL or host.startswith(("127.", "pid ")) else host


def _texts(sample: Sample) -> Iterator[str]:
    """Every text outside the model files."""
    found: list[str] = []

    def keep(text: str) -> str:
        found.append(text)
        return text

    with_texts(replace(sample, models={}), keep, {})
    yield from found
    yield from (model.path for model in sample.models.values())
