"""What-ifs of mlx_lm.server: bits and group size of the cache, where quantization starts, kept sequences (0.32.2).

It has no configured context: the length of the one sequence that is looked at is turned instead.
"""

from collections.abc import Mapping

from kvtop.domain.answers.what_if import WhatIf, replace_length
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.protocol.knobs import MOST_TOKENS, Turn, around, doubled, finer
from kvtop.text import plain_number, tokens_text

BITS = ("none", "8", "6", "4", "3", "2")
GROUPS = ("64", "128", "32")
DEFAULT_START_TOKENS, DEFAULT_KEPT, MOST_KEPT = 5000, 10, 1000
GRAIN_TOKENS = 256
"""mlx-lm's cache grows by as much."""


def _bits(what_if: WhatIf, _: MemoryPlan | None, step: int) -> WhatIf:
    chosen = around(BITS, what_if.value("kv-bits") or "none", step)
    return what_if.with_changes(**{"kv-bits": None if chosen == "none" else chosen})


def _group(what_if: WhatIf, _: MemoryPlan | None, step: int) -> WhatIf:
    return what_if.with_changes(**{"kv-group-size": around(GROUPS, what_if.value("kv-group-size") or "64", step)})


def _start(what_if: WhatIf, _: MemoryPlan | None, step: int) -> WhatIf:
    """Between 0 (every token) and twice as many as now."""
    asked = what_if.value("quantized-kv-start")
    number = plain_number(asked)
    at = DEFAULT_START_TOKENS if number is None else number
    moved = doubled(at, step) if at else (GRAIN_TOKENS if step > 0 else 0)
    moved = min(moved, MOST_TOKENS)
    return what_if.with_changes(**{"quantized-kv-start": str(moved if moved >= GRAIN_TOKENS else 0)})


def _kept(what_if: WhatIf, _: MemoryPlan | None, step: int) -> WhatIf | None:
    asked = what_if.value("prompt-cache-size")
    number = plain_number(asked)
    kept = (DEFAULT_KEPT if number is None else number) + step
    return what_if.with_changes(**{"prompt-cache-size": str(kept)}) if 0 <= kept <= MOST_KEPT else None


def _length(what_if: WhatIf, _: MemoryPlan | None, step: int) -> WhatIf | None:
    if what_if.at_tokens is None:
        return None
    tokens = doubled(what_if.at_tokens, step)
    return replace_length(what_if, tokens) if 1 <= tokens <= MOST_TOKENS else None


def _length_fine(what_if: WhatIf, _: MemoryPlan | None, step: int) -> WhatIf | None:
    if what_if.at_tokens is None:
        return None
    return replace_length(what_if, min(finer(what_if.at_tokens, step, GRAIN_TOKENS), MOST_TOKENS))


TURNS: Mapping[str, tuple[str, Turn]] = {
    "type_k": ("bits of the cache", _bits),
    "type_v": ("values a scale", _group),
    "context": ("length of the sequence", _length),
    "context_fine": ("length of the sequence, finer", _length_fine),
    "slots": ("kept sequences", _kept),
    "batch": ("tokens before quantization", _start),
}


def values(what_if: WhatIf, _: MemoryPlan | None) -> Mapping[str, str]:
    """Knob -> where it stands, in words."""
    bits = what_if.value("kv-bits")
    return {
        "type_k": "16" if bits is None else bits,
        "type_v": what_if.value("kv-group-size") or "64",
        "context": tokens_text(what_if.at_tokens),
        "slots": what_if.value("prompt-cache-size") or str(DEFAULT_KEPT),
        "batch": what_if.value("quantized-kv-start") or str(DEFAULT_START_TOKENS),
    }


DEFAULTS: Mapping[str, str] = {
    "kv-group-size": "64",
    "quantized-kv-start": str(DEFAULT_START_TOKENS),
    "prompt-cache-size": str(DEFAULT_KEPT),
}
"""Options -> their values where they are absent (0.32.2)."""


def settle(kept: dict[str, str | None], base: LaunchOptions, now: MemoryPlan) -> None:
    """Nothing holds anyway: a plan of MLX settles no option."""
    del kept, base, now
