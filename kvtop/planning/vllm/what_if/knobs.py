"""What-ifs of vLLM: cache type, longest sequence, share of the card, tensor parallel (0.32.0)."""

from collections.abc import Mapping

from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.protocol.knobs import MOST_TOKENS, Turn, around, doubled, drop, finer
from kvtop.planning.vllm.options.settings import DEFAULT_UTILIZATION
from kvtop.text import plain_number, tokens_text

TYPES = ("auto", "fp8", "fp8_e5m2")
LEAST_LENGTH_TOKENS, MOST_RANKS = 256, 64
_UTILIZATION_STEP = 0.01
_POOL = ("kv-cache-memory-bytes", "num-gpu-blocks-override")


def _type(what_if: WhatIf, _: MemoryPlan | None, step: int) -> WhatIf:
    at = what_if.value("kv-cache-dtype") or "auto"
    return what_if.with_changes(**{"kv-cache-dtype": around(TYPES, at, step)})


def _length(what_if: WhatIf, plan: MemoryPlan | None) -> int | None:
    asked = what_if.value("max-model-len")
    if (number := plain_number(asked)) is not None:
        return number
    return plan.vllm.max_model_len_tokens if plan is not None and plan.vllm is not None else None


def _context(what_if: WhatIf, plan: MemoryPlan | None, step: int) -> WhatIf | None:
    length = _length(what_if, plan)
    return None if length is None else _resized(what_if, doubled(length, step))


def _context_fine(what_if: WhatIf, plan: MemoryPlan | None, step: int) -> WhatIf | None:
    length = _length(what_if, plan)
    return None if length is None else _resized(what_if, finer(length, step, LEAST_LENGTH_TOKENS))


def _resized(what_if: WhatIf, length: int) -> WhatIf | None:
    return (
        None
        if not LEAST_LENGTH_TOKENS <= length <= MOST_TOKENS
        else what_if.with_changes(**{"max-model-len": str(length)})
    )


def _utilization(what_if: WhatIf, _: MemoryPlan | None, step: int) -> WhatIf | None:
    """One hundredth of the card more or less for the server; a pool stated in bytes has no use for it."""
    if what_if.value(_POOL[0]) is not None:
        return None
    asked = what_if.value("gpu-memory-utilization")
    try:
        share = round((float(asked) if asked is not None else DEFAULT_UTILIZATION) + step * _UTILIZATION_STEP, 2)
    except ValueError:
        return None
    if not 0.1 <= share <= 1.0:
        return None
    text, own = f"{share:.2f}", what_if.base.value("gpu-memory-utilization")
    # As it was typed, where it is the same: 0.7 and 0.70 are no change.
    return what_if.with_changes(**{"gpu-memory-utilization": own if own is not None and _is(own, share) else text})


def _is(text: str, share: float) -> bool:
    try:
        return float(text) == share
    except ValueError:
        return False


def _tensor_parallel(what_if: WhatIf, _: MemoryPlan | None, step: int) -> WhatIf | None:
    asked = what_if.value("tensor-parallel-size") or "1"
    ranks = plain_number(asked)
    if ranks is None:
        return None
    size = doubled(ranks, step)
    return what_if.with_changes(**{"tensor-parallel-size": str(size)}) if 1 <= size <= MOST_RANKS else None


TURNS: Mapping[str, tuple[str, Turn]] = {
    "type_k": ("KV cache type", _type),
    "type_v": ("KV cache type", _type),
    "context": ("longest sequence", _context),
    "context_fine": ("longest sequence, finer", _context_fine),
    "slots": ("tensor parallel", _tensor_parallel),
    "batch": ("share of the card", _utilization),
}


def values(what_if: WhatIf, plan: MemoryPlan | None) -> Mapping[str, str]:
    """Knob -> where it stands, in words."""
    likely = plan.vllm.max_model_len_tokens if plan is not None and plan.vllm is not None else None
    asked = what_if.value("max-model-len")
    number = plain_number(asked)
    length = likely if number is None else number
    default = f"{DEFAULT_UTILIZATION:g}" if what_if.value("kv-cache-memory-bytes") is None else "pool stated"
    return {
        "type_k": what_if.value("kv-cache-dtype") or "auto",
        "context": tokens_text(length),
        "slots": what_if.value("tensor-parallel-size") or "1",
        "batch": what_if.value("gpu-memory-utilization") or default,
    }


DEFAULTS: Mapping[str, str] = {
    "kv-cache-dtype": "auto",
    "tensor-parallel-size": "1",
    "gpu-memory-utilization": f"{DEFAULT_UTILIZATION:.2f}",
}
"""Options -> their values where they are absent (0.32.0)."""


def settle(kept: dict[str, str | None], base: LaunchOptions, now: MemoryPlan) -> None:
    """Take out of `kept` what holds anyway under the plan `now` of `base`."""
    if now.vllm is not None and base.get("max-model-len") is None:
        drop(kept, "max-model-len", str(now.vllm.max_model_len_tokens))
