"""The attention scores are one tensor larger than a Vulkan driver allows in one allocation.

Why: drivers limit one buffer (`maxBufferSize`, `maxMemoryAllocationSize`), many to 4 GiB or less, however much memory
the card has. Without flash attention the scores of a micro-batch over the whole context are one tensor. Older builds
refuse ("exceeds device buffer size limit"); newer ones leave such operations to the CPU.

Source: ggml-vulkan.cpp (`supports_op`, `max_buffer_size`), llama.cpp b11434; llama.cpp issues 15009 and 18160.

Cost: the server does not start, or works on the CPU.

Fix: `-fa on`, whose kernel keeps no scores; a smaller `-ub`.

Fires on: `-c 131072 -fa off` of Llama 3.1 8B with Vulkan. Quiet on: the same with flash attention.
"""

from kvtop.analysis.lint.amounts import GIB, exact
from kvtop.analysis.lint.fixes.fix import Way, options
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.rules.prompt_exceeds_cache_ram import loaded_plan
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.plan import MemoryPlan

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
_COMMAND = "llama-server -m MODEL -c 131072 -np 1 -ngl 99 -fa"
FIRES = Example(f"{_COMMAND} off", gpus=("64GiB,backend=vulkan",), model="llama-3.1-8b")
QUIET = Example(f"{_COMMAND} on", gpus=("64GiB,backend=vulkan",), model="llama-3.1-8b")
LIMIT_BYTES = 4 * GIB
"""The most that many drivers allow."""
_F32_BYTES = 4


def check(target: LintTarget) -> Outcome:
    """Needs the plan, and a card of this API."""
    if target.compute_api != "vulkan":
        return None
    plan = loaded_plan(target)
    if plan is None:
        return Lacks(f"no plan: {target.plan_note}")
    scores = _scores_bytes(target, plan)
    if scores <= LIMIT_BYTES:
        return None
    return Found(
        "warning",
        f"the attention scores of one micro-batch are one tensor of {exact(scores)}, and many Vulkan drivers allow "
        "4 GiB or less in one allocation",
        evidence=target.said("flash-attn", "ctx-size", "ubatch-size") or "default options",
        cost="it does not start, or attention runs on the CPU",
        fix=_fix(target),
    )


def _scores_bytes(target: LintTarget, plan: MemoryPlan) -> int:
    """Cells of a sequence x heads x micro-batch, in f32; 0 with flash attention."""
    if plan.flash_attention or plan.context is None or target.hparams is None or not target.caches_tokens:
        return 0
    rows = min(target.llama.ubatch_tokens, plan.context.n_ctx)
    return plan.context.n_ctx_seq * max(target.hparams.n_head, default=0) * rows * _F32_BYTES


def _fix(target: LintTarget) -> tuple[Way, ...]:
    """What keeps no scores, else fewer of them."""
    ways: list[Way] = [options(flash_attn="on")] if target.llama.flash_attention == "off" else []
    return (*ways, options(ubatch_size="128"), "a shorter -c")
