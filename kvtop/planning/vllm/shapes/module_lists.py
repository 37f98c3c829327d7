"""Lists of modules in a quantization configuration: names, globs and expressions, over a model's matrices.

Source: vLLM 0.32.0, `layers/quantization/utils/quant_utils.py` (`is_layer_skipped`), `compressed_tensors/utils.py`
(`should_ignore_layer`), `modelopt.py` (`is_layer_excluded`).
"""

import fnmatch
import re
from collections.abc import Iterable
from functools import lru_cache

_LEADING = re.compile(r"^(?:\*?\.?(?:model|language_model|thinker|transformer|backbone)\.)+")
_PREFIXES = ("", "model.", "model.language_model.", "language_model.model.", "language_model.")
_OTHER_NAMES = (
    ("block_sparse_moe", "mlp"),
    ("feed_forward", "mlp"),
    ("mixer.experts", "mlp.experts"),
    ("mixer.shared_experts", "mlp.shared_experts"),
    ("shared_expert.", "shared_experts."),
    ("ffn.", "mlp."),
    ("attn.", "self_attn."),
)
_ENCODERS = ("visual", "vision", "vision_tower", "vision_model", "audio_tower", "embed_vision", "multi_modal_projector")


class ModuleList:
    """Modules that a list names. Matching is by a module or any of its parents."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._names: set[str] = set()
        self._words: set[str] = set()
        globs: list[str] = []
        self._expressions: list[re.Pattern[str]] = []
        for pattern in patterns:
            if pattern.startswith("re:"):
                self._expressions += _expression(pattern[3:])
                continue
            plain = _canonical(pattern)
            if any(letter in plain for letter in "*?["):
                globs.append(fnmatch.translate(plain))
            elif "." in plain:
                self._names.add(plain)
            else:
                self._words.add(plain)
        self._globs = re.compile("|".join(globs)) if globs else None

    def __bool__(self) -> bool:
        return bool(self._names or self._words or self._globs or self._expressions)

    def holds(self, name: str) -> bool:
        """Whether the module, or one that it is part of, is named."""
        words = name.split(".")
        if self._words and not self._words.isdisjoint(words):
            return True
        parents = [".".join(words[:end]) for end in range(1, len(words) + 1)]
        if not self._names.isdisjoint(parents):
            return True
        if self._globs is not None and any(self._globs.match(parent) for parent in parents):
            return True
        return any(rule.match(prefix + name) for rule in self._expressions for prefix in _PREFIXES)

    def holds_encoder(self) -> bool:
        """Whether a picture or sound encoder is named."""
        named = (*self._words, *self._names)
        if any(word in name for name in named for word in _ENCODERS):
            return True
        return any(word in rule.pattern for rule in self._expressions for word in ("vision", "visual")) or (
            self._globs is not None and any(word in self._globs.pattern for word in ("vision", "visual"))
        )


NO_MODULES = ModuleList(())
"""Names nothing."""


def _canonical(pattern: str) -> str:
    plain = _LEADING.sub("", pattern.removesuffix(".weight"))
    for other, ours in _OTHER_NAMES:
        if ours not in plain or other == "shared_expert.":
            plain = re.sub(rf"(?<![a-z_]){re.escape(other)}", ours, plain)
    if plain.endswith("shared_expert"):
        plain += "s"
    return plain


@lru_cache(maxsize=256)
def _compiled(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text)
    except re.error:
        return None


def _expression(text: str) -> list[re.Pattern[str]]:
    found = _compiled(text)
    return [] if found is None else [found]
