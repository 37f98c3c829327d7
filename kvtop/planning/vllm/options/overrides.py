"""`--hf-overrides`: values of config.json that the command line replaces.

Source: vLLM 0.32.0, `config/model.py` (`_apply_dict_overrides`, `_update_nested`), `transformers_utils/config.py`.
"""

import json
from collections.abc import Mapping

from kvtop.planning.vllm.refusals import StartRefusedError

_PARTS = ("text_config", "vision_config", "audio_config", "thinker_config", "llm_config", "language_config")
"""Keys that Transformers makes configurations of their own: these are merged, other objects are replaced whole."""


def overrides_of(text: str | None) -> Mapping[str, object]:
    """The object that the option names, empty without it.

    Raises:
        RefusedError: it is no JSON object, in argparse's words.
    """
    if text is None:
        return {}
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise StartRefusedError(f"argument --hf-overrides: Value {text} cannot be converted to <function loads>.")
    return parsed


def overridden(config: Mapping[str, object], overrides: Mapping[str, object]) -> Mapping[str, object]:
    """The configuration with these values instead of its own."""
    changed = dict(config)
    for key, value in overrides.items():
        inner = changed.get(key)
        if key in _PARTS and isinstance(inner, Mapping) and isinstance(value, Mapping):
            changed[key] = _merged(inner, value)
        else:
            changed[key] = value
    return changed


def _merged(target: Mapping[str, object], updates: Mapping[str, object]) -> Mapping[str, object]:
    merged = dict(target)
    for key, value in updates.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged
