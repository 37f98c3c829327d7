"""A 16-bit KV pool that is, or will be, tight on a card that can read FP8.

Why: `--kv-cache-dtype fp8` halves the bytes of a token, so nearly twice as many requests fit (1.7 to 2.0 times
measured; the state of hybrid models does not shrink). It helps only when the pool is what limits: with room left
nothing is gained. On cards without FP8 arithmetic it saves memory and no time, and some models have no backend for it
there. Before the start it is an info: requests of full length may never come. A full pool is a warning.

Source: vLLM 0.32.0 `v1/attention/backends`, docs features/quantization/quantized_kvcache; issues 54426 and 55557.

Cost: computed: requests of full length at once, now and with FP8.

Fix: `--kv-cache-dtype fp8` (Ampere: `fp8_e5m2`), on a checkpoint with calibrated scales where there is one.

Fires on: Llama 3.1 8B with 256 sequences on one H100. Quiet on: the same with `--max-model-len 4096 --max-num-seqs 32`.
"""

from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.analysis.lint.vllm_pool import SIXTEEN_BITS, concurrency_of, serves_text, whole
from kvtop.domain.plan import MemoryPlan, Refusal

ENGINES: tuple[str, ...] = ("vllm",)
READS_LAUNCH = True
FIRES = Example("vllm serve MODEL --max-num-seqs 256", gpus=("H100",), model="llama-3.1-8b")
QUIET = Example("vllm serve MODEL --max-model-len 4096 --max-num-seqs 32", gpus=("H100",), model="llama-3.1-8b")
FEW_REQUESTS = 2.0
"""Of full length: below that, without a number of sequences, one long request leaves no room for another."""
FULL_RATIO = 0.9


def check(target: LintTarget) -> Outcome:
    """Running: the pool as it is. Before: requests of full length that fit, against the sequences asked for."""
    if target.value("kv-cache-dtype") not in SIXTEEN_BITS or not serves_text(target):
        return None
    if target.value("num-gpu-blocks-override") is not None:
        return None  # then the pool has the size that was asked for
    plan, observed = target.plan, target.observed
    if plan is not None and plan.type_k is not None and plan.type_k not in SIXTEEN_BITS:
        return None  # the checkpoint brings its own
    if observed is not None:
        if observed.used_ratio is None and observed.waiting_for_memory is None:
            return Lacks("how full the pool is, is unknown")
        is_tight = (observed.used_ratio or 0) > FULL_RATIO or bool(observed.waiting_for_memory)
        if not (is_tight or observed.is_preempting):
            return None
        evidence = "the pool is full, or requests wait for it"
    else:
        if plan is None:
            return Lacks(f"how tight the pool will be is unknown: {target.plan_note}")
        fits = concurrency_of(plan)
        if fits is None:
            return Lacks("how tight the pool will be is unknown: the plan does not know the weights")
        sequences = whole(target, "max-num-seqs")
        wanted = FEW_REQUESTS if sequences is None else float(sequences)
        if fits.high >= wanted or fits.high == 0:
            return None
        asked = f"--max-num-seqs {sequences}" if sequences else f"fewer than {FEW_REQUESTS:.0f} requests"
        evidence = f"{fits.low:.1f} to {fits.high:.1f} requests of full length fit; {asked}"
    return _with_fp8(target, plan, evidence)


def _with_fp8(target: LintTarget, plan: MemoryPlan | None, evidence: str) -> Outcome:
    capability = target.devices[0].compute_capability if target.devices else None
    old = capability is not None and capability < (8, 9)
    kind = "fp8_e5m2" if old else "fp8"  # `fp8-cache-unsupported-gpu` says why
    answer = target.answer_with(kv_cache_dtype=kind)
    if answer is None:
        return Lacks(f"whether FP8 would help is unknown: {target.plan_note or 'no rule for it'}")
    if isinstance(answer, Refusal):
        return Found(
            "info",
            "the 16-bit pool is tight, and FP8 would not help: no backend takes it for this model on this card",
            evidence=f"{evidence}; {answer.message}",
            fix="a shorter --max-model-len, quantized weights, or more cards",
        )
    before = None if plan is None else concurrency_of(plan)
    after = concurrency_of(answer)
    cost = ""
    if plan is not None and plan.vllm and answer.vllm:
        here, there = plan.vllm.bytes_per_token_per_rank, answer.vllm.bytes_per_token_per_rank
        cost = f"{here:.0f} bytes a token and rank, {there:.0f} with FP8"
    if before is not None and after is not None:
        cost += f"; about {before.value:.1f} requests of full length, {after.value:.1f} with FP8"
    return Found(
        "info" if old or target.observed is None else "warning",
        "the 16-bit KV pool is tight"
        + (": FP8 would save memory here, but no time (no FP8 arithmetic)" if old else ", and this card reads FP8"),
        evidence=evidence,
        cost=cost,
        fix=(options("; nothing is gained by it where the pool is not full", kv_cache_dtype=kind),),
        otherwise="a shorter --max-model-len, or more cards",
    )
