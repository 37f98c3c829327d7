"""The last step of `sources`: every text of a Sample is masked and cleaned once more before anything else reads it.

Each reader cleans what it copies. A reader that forgets leaks nothing, because this walk comes after all of them.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from kvtop.domain.launch import LaunchOption, LaunchOptions
from kvtop.domain.model_file import Checkpoint, GgufHeader
from kvtop.domain.sample import Sample
from kvtop.domain.texts import with_texts
from kvtop.sources.redaction.redact import clean, clean_model_text, clean_value
from kvtop.text import without_controls

_MODELS_KEPT = 64
_models: dict[int, tuple[object, object]] = {}


def sanitized(sample: Sample) -> Sample:
    """The Sample with every text from outside masked and cleaned."""
    return with_texts(sample, clean, {LaunchOptions: _launch, GgufHeader: _model, Checkpoint: _model})


def _model(value: object) -> object:
    """The same file while it is the same object: headers are large, shared between ticks and hardly ever change."""
    known = _models.get(id(value))
    if known is None or known[0] is not value:
        if len(_models) >= _MODELS_KEPT:
            _models.clear()
        known = (value, _sanitized_model(value))
        _models[id(value)] = known
    return known[1]


def _sanitized_model(value: object) -> object:
    """Control characters go from what is shown of a file; names of tensors and vocabularies are for rules only."""
    if isinstance(value, GgufHeader):
        metadata = {
            without_controls(key): clean_model_text(key, item) if isinstance(item, str) and _is_shown(key) else item
            for key, item in value.metadata.items()
        }
        same = metadata == dict(value.metadata)
        shown = replace(value, path=clean(value.path), notes=tuple(map(clean, value.notes)))
        return value if same and shown == value else replace(shown, metadata=metadata)
    if isinstance(value, Checkpoint):
        shown_too = replace(value, path=clean(value.path), notes=tuple(map(clean, value.notes)))
        config = _config(value.config)
        return value if config == value.config and shown_too == value else replace(shown_too, config=config)
    return value


def _config(config: Mapping[str, object]) -> dict[str, object]:
    return {without_controls(str(key)): _config_item(str(key), item) for key, item in config.items()}


def _config_item(key: str, item: object) -> object:
    if isinstance(item, str):
        return clean_model_text(key, item)
    if isinstance(item, Mapping):
        return _config(item)
    if isinstance(item, list | tuple):
        return type(item)(_config_item(key, inner) for inner in item)
    return item


def _is_shown(key: str) -> bool:
    return not key.startswith("tokenizer.")


def _launch(value: object) -> object:
    return _sanitized_launch(value) if isinstance(value, LaunchOptions) else value


@lru_cache(maxsize=256)
def _sanitized_launch(launch: LaunchOptions) -> LaunchOptions:
    return replace(
        launch,
        options=tuple(_sanitized_option(option) for option in launch.options),
        unknown=tuple(map(clean, launch.unknown)),
        errors=tuple(map(clean, launch.errors)),
    )


def _sanitized_option(option: LaunchOption) -> LaunchOption:
    return replace(option, value=clean_value(option.name, option.value), detail=clean(option.detail))
