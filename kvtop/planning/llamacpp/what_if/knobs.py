"""What-ifs of llama-server: cache types, cells, slots, one pool or many, micro-batch, flash attention (b11434)."""

from collections.abc import Callable, Mapping

from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.protocol.knobs import MOST_TOKENS, Turn, around, doubled, drop, finer
from kvtop.text import UNKNOWN_TEXT, plain_number, tokens_text

TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "iq4_nl", "q4_0")
"""From the most bytes to the fewest."""
LEAST_CONTEXT_TOKENS, LEAST_UBATCH_TOKENS, MOST_UBATCH_TOKENS = 256, 32, 65536
MOST_SLOTS = 256
"""LLAMA_MAX_SEQ (src/llama-cparams.h)."""
_DEFAULT_TYPE = "f16"


def _type(name: str) -> Callable[[WhatIf, MemoryPlan | None, int], WhatIf | None]:
    def turn(what_if: WhatIf, _: MemoryPlan | None, step: int) -> WhatIf:
        return what_if.with_changes(**{name: around(TYPES, what_if.value(name) or _DEFAULT_TYPE, step)})

    return turn


def _cells(what_if: WhatIf, plan: MemoryPlan | None) -> int | None:
    asked = what_if.value("ctx-size")
    if number := plain_number(asked):
        return number
    return plan.context.n_ctx if plan is not None and plan.context is not None else None


def _context(what_if: WhatIf, plan: MemoryPlan | None, step: int) -> WhatIf | None:
    cells = _cells(what_if, plan)
    return None if cells is None else _resized(what_if, doubled(cells, step))


def _context_fine(what_if: WhatIf, plan: MemoryPlan | None, step: int) -> WhatIf | None:
    cells = _cells(what_if, plan)
    return None if cells is None else _resized(what_if, finer(cells, step, LEAST_CONTEXT_TOKENS))


def _resized(what_if: WhatIf, cells: int) -> WhatIf | None:
    return (
        None if not LEAST_CONTEXT_TOKENS <= cells <= MOST_TOKENS else what_if.with_changes(**{"ctx-size": str(cells)})
    )


def _slots(what_if: WhatIf, plan: MemoryPlan | None, step: int) -> WhatIf | None:
    """One slot more or fewer, in the same pool: `-np` alone would also switch the unified cache off."""
    if plan is None or plan.context is None:
        return None
    slots = plan.context.n_seq_max + step
    if not 1 <= slots <= MOST_SLOTS:
        return None
    return what_if.with_changes(**{"parallel": str(slots), "kv-unified": _word(plan.context.kv_unified)})


def _unified(what_if: WhatIf, plan: MemoryPlan | None, _: int) -> WhatIf | None:
    """One pool for all slots, or one each. Without `-np` the server insists on one pool."""
    if plan is None or plan.context is None:
        return None
    other = _word(not plan.context.kv_unified)
    return what_if.with_changes(**{"parallel": str(plan.context.n_seq_max), "kv-unified": other})


def _ubatch(what_if: WhatIf, _: MemoryPlan | None, step: int) -> WhatIf | None:
    """Twice or half the micro-batch; a larger one than `-b` takes `-b` along, which would cap it, and back."""
    batch = _whole(what_if.value("batch-size"), 2048)
    tokens = doubled(min(_whole(what_if.value("ubatch-size"), 512), batch), step)
    if not LEAST_UBATCH_TOKENS <= tokens <= MOST_UBATCH_TOKENS:
        return None
    own = what_if.base.value("batch-size")
    needed = str(tokens) if tokens > _whole(own, 2048) else own
    return what_if.with_changes(**{"ubatch-size": str(tokens), "batch-size": needed})


def _flash(what_if: WhatIf, plan: MemoryPlan | None, _: int) -> WhatIf | None:
    """The other one of on and off; auto counts as what it resolves to."""
    asked = what_if.value("flash-attn") or "auto"
    if asked == "auto":
        if plan is None or plan.flash_attention is None:
            return None
        asked = _switch(plan.flash_attention)
    return what_if.with_changes(**{"flash-attn": "off" if asked == "on" else "on"})


def _word(is_on: bool) -> str:
    return "true" if is_on else "false"


def _switch(is_on: bool) -> str:
    return "on" if is_on else "off"


def _whole(text: str | None, default: int) -> int:
    return plain_number(text) or default


TURNS: Mapping[str, tuple[str, Turn]] = {
    "type_k": ("cache type of K", _type("cache-type-k")),
    "type_v": ("cache type of V", _type("cache-type-v")),
    "context": ("context", _context),
    "context_fine": ("context, finer", _context_fine),
    "slots": ("slots", _slots),
    "unified": ("one pool for all slots", _unified),
    "batch": ("micro-batch", _ubatch),
    "flash": ("flash attention", _flash),
}


def values(what_if: WhatIf, plan: MemoryPlan | None) -> Mapping[str, str]:
    """Knob -> where it stands, in words."""
    context = plan.context if plan is not None else None
    asked = what_if.value("ctx-size")
    cells = asked if plain_number(asked) else None
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


DEFAULTS: Mapping[str, str] = {"cache-type-k": "f16", "cache-type-v": "f16", "ubatch-size": "512", "batch-size": "2048"}
"""Options -> their values where they are absent (b11434)."""


def settle(kept: dict[str, str | None], base: LaunchOptions, now: MemoryPlan) -> None:
    """Take out of `kept` what holds anyway under the plan `now` of `base`."""
    context = now.context
    if context is None:
        return
    if base.get("ctx-size") is None:
        drop(kept, "ctx-size", str(context.n_ctx))
    pool = "true" if context.kv_unified else "false"
    if kept.get("parallel", str(context.n_seq_max)) == str(context.n_seq_max) and kept.get("kv-unified", pool) == pool:
        # Both or none: the number of slots alone would also say that each has a pool of its own.
        kept.pop("parallel", None)
        kept.pop("kv-unified", None)
    if not {"parallel", "kv-unified"} & kept.keys() and base.value("ctx-size") in {None, "0"}:
        drop(kept, "ctx-size", str(context.n_ctx))
    if kept.keys() == {"flash-attn"} and base.value("flash-attn") in {None, "auto"} and now.flash_attention is not None:
        drop(kept, "flash-attn", "on" if now.flash_attention else "off")
