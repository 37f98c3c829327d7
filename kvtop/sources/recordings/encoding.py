"""Samples and model files as MessagePack, by the fields of the domain's dataclasses under the format's names.

Fields that this version does not know are skipped; fields that an older one did not write take their default. Models
are records of their own, and a tick names them by number: they are large and hardly ever change.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from typing import Any, get_type_hints

import msgspec

from kvtop.domain.model_file import Checkpoint, CheckpointTensor, GgufHeader, ModelFile
from kvtop.domain.sample import Sample
from kvtop.sources.recordings.field_names import form_of
from kvtop.sources.recordings.framing import LAST_TIME, RecordingError
from kvtop.sources.recordings.server_record import completed

_CONFIG_LIMIT_CHARACTERS = 4 * 1024 * 1024
_TEMPLATES = "tokenizer.chat_template"
"""Somebody's words, and nothing that decides memory."""


@dataclass(frozen=True, slots=True)
class Info:
    """Who wrote a recording. `interval_seconds` is what was asked for."""

    kvtop_version: str
    interval_seconds: float
    is_anonymous: bool = False


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """A Checkpoint whose config is JSON text: MessagePack has no integers beyond 64 bits, config files may."""

    path: str
    config_json: str
    tensors: tuple[CheckpointTensor, ...]
    tensor_bytes: int | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Model:
    """One of the two kinds of model file."""

    gguf: GgufHeader | None = None
    checkpoint: _Checkpoint | None = None


def _tick_type() -> type:
    """The shape of a tick: every field of Sample in its form, but models by number."""
    hints = get_type_hints(Sample)
    shape: list[tuple[str, object] | tuple[str, object, object]] = []
    for each in fields(Sample):
        if each.name == "models":
            shape.append(("models", dict[str, int], msgspec.field(default_factory=dict)))
        elif each.default is MISSING:
            shape.append((each.name, form_of(hints[each.name]).shape))
        else:
            shape.append((each.name, form_of(hints[each.name]).shape, each.default))
    return msgspec.defstruct("Tick", shape)


_TICK = _tick_type()
_FORMS = {name: form_of(hint) for name, hint in get_type_hints(Sample).items() if name != "models"}
_tick_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(_TICK)
_model_decoder = msgspec.msgpack.Decoder(_Model)
_info_decoder = msgspec.msgpack.Decoder(Info)
_encoder = msgspec.msgpack.Encoder()


def encode_tick(sample: Sample, models: Mapping[str, int]) -> bytes:
    """One tick; `models` are the numbers of the model records."""
    known: dict[str, object] = {"models": dict(models)}
    for name, form in _FORMS.items():
        value = getattr(sample, name)
        known[name] = value if form.write is None else form.write(value)
    return _encoder.encode(known)


def decode_tick(content: bytes, models: Mapping[int, ModelFile], name: str) -> Sample:
    """The tick with its models; one whose record is lost is missing. Raises RecordingError for anything else."""
    try:
        tick = _tick_decoder.decode(content)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise RecordingError(f"{name}: a tick cannot be understood: {error}") from error
    if not 0 <= tick.taken_at <= LAST_TIME:
        raise RecordingError(f"{name}: a tick cannot be understood: it was taken at no time of any calendar")
    read: dict[str, Any] = {}
    for field, form in _FORMS.items():
        value = getattr(tick, field)
        read[field] = value if form.read is None else form.read(value)
    read["servers"] = tuple(map(completed, read["servers"]))
    if not _are_finite(read.values()):
        raise RecordingError(f"{name}: a tick cannot be understood: a number in it is not finite")
    found = {key: models[number] for key, number in tick.models.items() if number in models}
    return Sample(**read, models=found)


def _are_finite(values: Iterable[object]) -> bool:
    """Whether no number at any depth is infinite or NaN: sources measure none, and no figure can be made of one."""
    for value in values:
        if isinstance(value, float):
            if not math.isfinite(value):
                return False
        elif isinstance(value, tuple | list):
            if not _are_finite(value):
                return False
        elif isinstance(value, Mapping):
            if not _are_finite(value.values()):
                return False
        elif is_dataclass(value) and not _are_finite(getattr(value, each.name) for each in fields(value)):
            return False
    return True


def encode_model(model: ModelFile) -> bytes:
    """One model file."""
    if isinstance(model, GgufHeader):
        kept = {key: value for key, value in model.metadata.items() if not key.startswith(_TEMPLATES)}
        return _encoder.encode(_Model(gguf=replace(model, metadata=kept)))
    text = json.dumps(model.config)
    return _encoder.encode(
        _Model(checkpoint=_Checkpoint(model.path, text, model.tensors, model.tensor_bytes, model.notes))
    )


def decode_model(content: bytes, name: str) -> ModelFile:
    """One model file. Raises RecordingError."""
    try:
        model = _model_decoder.decode(content)
        if model.gguf is not None:
            return model.gguf
        if model.checkpoint is not None:
            it = model.checkpoint
            if len(it.config_json) > _CONFIG_LIMIT_CHARACTERS:
                raise RecordingError(
                    f"{name}: a model with more than {_CONFIG_LIMIT_CHARACTERS} characters of config.json"
                )
            config = json.loads(it.config_json)
            if isinstance(config, dict):
                return Checkpoint(it.path, config, it.tensors, it.tensor_bytes, it.notes)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise RecordingError(f"{name}: a model cannot be understood: {error}") from error
    raise RecordingError(f"{name}: a model of a kind that this kvtop does not know")


def encode_info(info: Info) -> bytes:
    """The record that says who wrote the file."""
    return _encoder.encode(info)


def decode_info(content: bytes) -> Info | None:
    """The same read back; None where it cannot be understood, since nothing depends on it."""
    try:
        return _info_decoder.decode(content)
    except (msgspec.DecodeError, ValueError):
        return None
