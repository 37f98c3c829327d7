"""Where each knob of an engine stands, in words."""

from collections.abc import Mapping

from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.adjustments.mlx import DEFAULT_KEPT, DEFAULT_START_TOKENS
from kvtop.planning.vllm.options.settings import DEFAULT_UTILIZATION
from kvtop.text import UNKNOWN_TEXT, tokens_text


def knob_values(what_if: WhatIf, plan: MemoryPlan | None) -> Mapping[str, str]:
    """Dial -> its value. `plan` is that of the what-if; None where there is none: some values are then unknown."""
    engine = what_if.base.engine
    if engine == "llama.cpp":
        return _llamacpp(what_if, plan)
    return _vllm(what_if, plan) if engine == "vllm" else _mlx(what_if)


def _llamacpp(what_if: WhatIf, plan: MemoryPlan | None) -> Mapping[str, str]:
    context = plan.context if plan is not None else None
    asked = what_if.value("ctx-size")
    cells = asked if asked is not None and asked.isdigit() and int(asked) else None
    flash = what_if.value("flash-attn") or "auto"
    if flash == "auto" and plan is not None and plan.flash_attention is not None:
        flash = f"auto: {'on' if plan.flash_attention else 'off'}"
    if context is None:
        size = UNKNOWN_TEXT if cells is None else tokens_text(int(cells))
    elif context.kv_unified or context.n_seq_max == 1:
        size = tokens_text(context.n_ctx)
    else:
        size = f"{tokens_text(context.n_ctx)} = {context.n_seq_max} x {tokens_text(context.n_ctx_seq)}"
    return {
        "type_k": what_if.value("cache-type-k") or "f16",
        "type_v": what_if.value("cache-type-v") or "f16",
        "context": size,
        "slots": UNKNOWN_TEXT if context is None else str(context.n_seq_max),
        "unified": UNKNOWN_TEXT if context is None else "yes" if context.kv_unified else "no",
        "batch": what_if.value("ubatch-size") or "512",
        "flash": flash,
    }


def _vllm(what_if: WhatIf, plan: MemoryPlan | None) -> Mapping[str, str]:
    likely = plan.vllm.max_model_len_tokens if plan is not None and plan.vllm is not None else None
    asked = what_if.value("max-model-len")
    length = int(asked) if asked is not None and asked.isdigit() else likely
    default = f"{DEFAULT_UTILIZATION:g}" if what_if.value("kv-cache-memory-bytes") is None else "pool stated"
    return {
        "type_k": what_if.value("kv-cache-dtype") or "auto",
        "context": tokens_text(length),
        "slots": what_if.value("tensor-parallel-size") or "1",
        "batch": what_if.value("gpu-memory-utilization") or default,
    }


def _mlx(what_if: WhatIf) -> Mapping[str, str]:
    bits = what_if.value("kv-bits")
    return {
        "type_k": "16" if bits is None else bits,
        "type_v": what_if.value("kv-group-size") or "64",
        "context": tokens_text(what_if.at_tokens),
        "slots": what_if.value("prompt-cache-size") or str(DEFAULT_KEPT),
        "batch": what_if.value("quantized-kv-start") or str(DEFAULT_START_TOKENS),
    }
