"""`--kv-bits` on a model whose caches MLX cannot quantize: requests fail, or nothing happens.

Why: rotating caches (sliding windows: Gemma 3 and 4, gpt-oss …) raise NotImplementedError, latent and soft-capped
attention cannot read a quantized cache. With the default start that hits only prompts of 5000 tokens and more: the
connection closes without a status and /health stays ok. Caches inside lists (Falcon-H1, DeepSeek V3.2) and chunked ones
(Llama 4) are passed over silently.

Source: mlx-lm 0.32.2 generate.py and models/cache.py; every class run once; issue 1573.

Cost: requests are lost; or no byte is saved.

Fix: leave `--kv-bits` out.

Fires on: Gemma 3. Quiet on: Llama 3.1.
"""

import re

from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.plan import MemoryPlan, Refusal

ENGINES: tuple[str, ...] = ("mlx",)
READS_LAUNCH = True
FIRES = Example("mlx_lm.server --model MODEL --kv-bits 8", model="gemma-3-4b")
QUIET = Example("mlx_lm.server --model MODEL --kv-bits 8", model="llama-3.1-8b")
_BREAKING_NAMES = re.compile(
    r"gemma[-_ ]?[234]|gpt[-_ ]?oss|deepseek[-_ ]?(?:v3|r1)(?!.*distill)|kimi[-_ ]?k2|command[-_ ]?(?:r7b|a)\b"
    r"|olmo[-_ ]?3|exaone[-_ ]?4",
    re.IGNORECASE,
)
_NOT_THIS = ("last dimension", "group size", "bits")


def check(target: LintTarget) -> Outcome:
    """Needs config.json, or a name that leaves no doubt. The start is taken as 0: a long prompt comes one day."""
    if target.value("kv-bits") is None:
        return None
    evidence = target.said("kv-bits", "quantized-kv-start")
    if target.checkpoint is None:
        if _BREAKING_NAMES.search(target.model_name):
            return Found(
                "error",
                "by its name this model has caches that MLX cannot quantize: requests fail once a sequence reaches "
                "--quantized-kv-start",
                evidence=f"{evidence}; the model's name",
                cost="requests are lost",
                fix=(options(kv_bits=None),),
            )
        return Lacks(f"the kinds of cache of the model are unknown: {target.model_note}")
    answer = target.answer_with(quantized_kv_start="0")
    if answer is None:
        return Lacks(f"the kinds of cache of the model are unknown: {target.plan_note}")
    if isinstance(answer, Refusal):
        if any(words in answer.message for words in _NOT_THIS) and "NYI" not in answer.message:
            return None  # `mlx-group-size`
        start = target.value("quantized-kv-start") or "5000"
        when = "every request fails" if start == "0" else f"requests fail once a sequence reaches {start} tokens"
        return Found(
            "error",
            f"{when}, while /health stays ok: {answer.message}",
            evidence=evidence,
            cost="requests are lost",
            fix=(options(kv_bits=None),),
        )
    return _unchanged(target, answer, evidence)


def _unchanged(target: LintTarget, quantized: MemoryPlan, evidence: str) -> Outcome:
    plain = target.answer_with(kv_bits=None)
    if not isinstance(plain, MemoryPlan) or not plain.cache_parts:
        return None
    before, after = (sum(part.size_bytes for part in plan.cache_parts) for plan in (plain, quantized))
    if after < before:
        return None
    return Found(
        "warning",
        "mlx-lm cannot quantize this model's caches and says nothing: --kv-bits saves no byte and disables batching",
        evidence=evidence,
        cost=f"0 bytes saved of {before}",
        fix=(options(kv_bits=None),),
    )
