"""Flash attention is off: the scores of every head and token go to memory.

Why: without the fused kernel the engine reserves a buffer of micro-batch times context times heads in f32, 2 GiB for 32
heads at 32768 tokens, and V must stay at 16 bits. The default `auto` uses flash attention wherever a kernel exists.

Source: `build_attn_mha`, src/llama-graph.cpp, llama.cpp b11434; 148 -> 2156 MiB measured there on Llama 3.1 8B.

Cost: estimated: compute without, less compute with.

Fix: leave `--flash-attn off` out, or `on`.

Fires on: `-fa off`. Quiet on: the default, and on Grok, which cannot.
"""

from kvtop.analysis.lint.amounts import all_bytes, exact, is_quantized
from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 32768 -fa off", gpus=("24GiB",), model="llama-3.1-8b")
QUIET = Example("llama-server -m MODEL -c 32768", gpus=("24GiB",), model="llama-3.1-8b")


def check(target: LintTarget) -> Outcome:
    """Needs only the option; the plan gives the bytes, and what `auto` becomes on CUDA."""
    settings = target.llama
    arch = "" if target.hparams is None else target.hparams.arch
    if arch == "grok" or not target.caches_tokens:
        return None
    plan = target.plan
    if settings.flash_attention == "off":
        # Off, it can only start with a plain V.
        plain = "f16" if is_quantized(settings.type_v) else target.value("cache-type-v")
        off = target.plan_with(flash_attn="off", cache_type_v=plain)
        fused = target.plan_with(flash_attn="on", cache_type_v=plain)
        cost = ""
        if off is not None and fused is not None and all_bytes(off) > all_bytes(fused):
            cost = f"about {exact(all_bytes(off) - all_bytes(fused))} more than with it"
        return Found(
            "warning",
            "flash attention is switched off: attention scores of the whole context go through memory",
            evidence=target.said("flash-attn"),
            cost=cost,
            fix=(options(" (the default)", flash_attn="auto"), options(flash_attn="on")),
            otherwise="--flash-attn on with another pair of cache types",
        )
    if settings.flash_attention == "auto" and plan is not None and plan.flash_attention is False and target.devices:
        return Found(
            "info",
            "--flash-attn auto will find no kernel for this model and these cache types here and turn itself off",
            evidence=f"architecture {plan.architecture}, types {plan.type_k}/{plan.type_v}",
            cost="the buffer of scores is in the plan",
            fix="f16 for both caches, if they are not; otherwise another backend (Vulkan takes more shapes)",
        )
    return None
