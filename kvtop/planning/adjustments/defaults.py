"""What an engine does where nobody says otherwise: a turn back to it is no change, and the command does not say it."""

from collections.abc import Mapping
from dataclasses import replace

from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.launch import LaunchOptions, Origin
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.adjustments.mlx import DEFAULT_KEPT, DEFAULT_START_TOKENS
from kvtop.planning.vllm.options.settings import DEFAULT_UTILIZATION

DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "llama.cpp": {"cache-type-k": "f16", "cache-type-v": "f16", "ubatch-size": "512", "batch-size": "2048"},
    "vllm": {
        "kv-cache-dtype": "auto",
        "tensor-parallel-size": "1",
        "gpu-memory-utilization": f"{DEFAULT_UTILIZATION:.2f}",
    },
    "mlx": {
        "kv-group-size": "64",
        "quantized-kv-start": str(DEFAULT_START_TOKENS),
        "prompt-cache-size": str(DEFAULT_KEPT),
    },
}
"""Engine -> option -> its value where it is absent, spelled as the knobs spell it."""


def settled(what_if: WhatIf, now: MemoryPlan | None) -> WhatIf:
    """The same what-if without changes to what holds anyway. `now` is the plan of its base; None: not known."""
    defaults = DEFAULTS.get(what_if.base.engine, {})
    kept = {
        name: value
        for name, value in what_if.changes
        if value is None or what_if.base.get(name) is not None or defaults.get(name) != value
    }
    if now is not None and now.context is not None:
        _settle_llamacpp(kept, what_if.base, now)
    if now is not None and now.vllm is not None and what_if.base.get("max-model-len") is None:
        _drop(kept, "max-model-len", str(now.vllm.max_model_len_tokens))
    return replace(what_if, changes=()).with_changes(**kept)


def unset(what_if: WhatIf, name: str) -> str | None:
    """The change that gives an option its default: none at all, or its value spelled out.

    Only what stands in the command can be taken out of it; an environment or a file would go on saying otherwise.
    """
    said = what_if.base.get(name)
    return None if said is None or said.origin is Origin.ARGV else DEFAULTS[what_if.base.engine].get(name)


def _settle_llamacpp(kept: dict[str, str | None], base: LaunchOptions, now: MemoryPlan) -> None:
    context = now.context
    if context is None:
        return
    pool = "true" if context.kv_unified else "false"
    if kept.get("parallel", str(context.n_seq_max)) == str(context.n_seq_max) and kept.get("kv-unified", pool) == pool:
        # Both or none: the number of slots alone would also say that each has a pool of its own.
        kept.pop("parallel", None)
        kept.pop("kv-unified", None)
    if not {"parallel", "kv-unified"} & kept.keys() and base.value("ctx-size") in {None, "0"}:
        _drop(kept, "ctx-size", str(context.n_ctx))
    if kept.keys() == {"flash-attn"} and base.value("flash-attn") in {None, "auto"} and now.flash_attention is not None:
        _drop(kept, "flash-attn", "on" if now.flash_attention else "off")


def _drop(kept: dict[str, str | None], name: str, value: str) -> None:
    if kept.get(name) == value:
        del kept[name]
