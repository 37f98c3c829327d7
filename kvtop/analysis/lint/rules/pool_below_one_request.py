"""The KV pool cannot hold one request of the longest permitted length: vLLM refuses to start.

Why: `--max-model-len` defaults to what the model was trained for, which on one card is often more than the memory that
weights leave.

Source: vLLM 0.32.0 `v1/core/kv_cache_utils.py` ("To serve at least one request with the model's max seq len").

Cost: the server does not start.

Fix: `--max-model-len` at what fits, or `auto`.

Fires on: Llama 3.1 8B with all of its 131072 tokens on 24 GiB. Quiet on: the same with `--max-model-len 16384`.
"""

from kvtop.analysis.lint.fixes.fix import Way, options
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.analysis.lint.vllm_pool import concurrency_of

ENGINES: tuple[str, ...] = ("vllm",)
READS_LAUNCH = True
FIRES = Example("vllm serve MODEL", gpus=("24GiB",), model="llama-3.1-8b")
QUIET = Example("vllm serve MODEL --max-model-len 16384", gpus=("24GiB",), model="llama-3.1-8b")
WORDS = "To serve at least one request"
NO_ROOM = "a quantized checkpoint, more cards or a larger one: after the weights there is no room for a request"


def check(target: LintTarget) -> Outcome:
    """Needs the plan; a running server has passed this."""
    if target.observed is not None:
        return None
    if WORDS in target.refusal:
        return Found("error", f"vLLM would not start: {target.refusal}", *_rest(target))
    plan = target.plan
    if plan is None:
        if target.refusal:
            return None
        return Lacks(f"the pool is unknown: {target.plan_note}")
    fits = concurrency_of(plan)
    likely = None if plan.vllm is None else plan.vllm.pool_estimate
    if fits is None:
        return Lacks("the pool is unknown: the plan does not know the weights on the card")
    if fits.value >= 1 or (likely is not None and likely.pool.high_bytes == 0):
        return None  # nothing is left at all: `device-overcommitted`
    sure = fits.high < 1
    length = None if plan.vllm is None else plan.vllm.max_model_len_tokens
    return Found(
        "error" if sure else "warning",
        f"one request of {length} tokens does not fit the pool, and vLLM {'will' if sure else 'will probably'} refuse "
        "to start",
        *_rest(target),
    )


def _rest(target: LintTarget) -> tuple[str, str, tuple[Way, ...], str]:
    shorter = target.plan_with(max_model_len="auto")
    likely = None if shorter is None or shorter.vllm is None else shorter.vllm.pool_estimate
    ways: tuple[Way, ...] = (options(max_model_len="auto"),)
    if likely is not None and likely.tokens_low >= 256:
        ways = (options(" (likely to fit)", max_model_len=str(likely.tokens_low // 256 * 256)), *ways)
    evidence = target.said("max-model-len", "gpu-memory-utilization", "kv-cache-memory-bytes")
    return evidence or "the default --max-model-len of the model", "the server does not start", ways, NO_ROOM
