"""A quantized V cache without flash attention: llama-server refuses to start.

Why: without flash attention V is stored transposed, one value a row, and a block of 32 quantized values cannot be cut
that way. `--flash-attn auto` is fine: the engine switches it on for a quantized V.

Source: `llama_init_from_model`, src/llama-context.cpp, llama.cpp b11434; run there.

Cost: the server exits with code 1.

Fix: `--flash-attn on` (or `auto`), or `--cache-type-v f16`.

Fires on: `-ctv q8_0 -fa off`. Quiet on: `-ctv q8_0` alone, and `-ctk q8_0 -fa off`, which starts.
"""

from kvtop.analysis.lint.amounts import is_quantized
from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 8192 -ctk q8_0 -ctv q8_0 -fa off")
QUIET = Example("llama-server -m MODEL -c 8192 -ctk q8_0 -ctv q8_0")
WORDS = "llama_init_from_model: quantized V cache requires flash_attn to be enabled"


def check(target: LintTarget) -> Outcome:
    """Needs only the options; the model only to know Grok, which never runs fused."""
    settings = target.llama
    is_grok = target.hparams is not None and target.hparams.arch == "grok"
    if settings.flash_attention != "off" and not is_grok:
        return None
    drafted = settings.draft is not None or "draft-mtp" in settings.speculative_types
    quantized_draft = drafted and is_quantized(settings.draft_type_v)
    if not is_quantized(settings.type_v) and not quantized_draft:
        return None
    names = ("cache-type-v", "flash-attn") if is_quantized(settings.type_v) else ("spec-draft-type-v", "flash-attn")
    grok = "Grok never uses flash attention, and " if is_grok else ""
    return Found(
        "error",
        f"{grok}the engine will not start: {WORDS}",
        evidence=target.said(*names),
        cost="the server does not start",
        fix=(options(cache_type_v="f16") if is_grok else options(flash_attn="on"),),
        otherwise="--flash-attn on, or plain V, and room for it",
    )
