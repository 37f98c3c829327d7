"""What makes room in the cache of a running server, as options of its engine."""

from kvtop.analysis.lint.advice import any_of, cache_types, smaller_cache
from kvtop.analysis.lint.observed import Observed
from kvtop.analysis.lint.target import LintTarget
from kvtop.analysis.lint.vllm_pool import DEFAULT_UTILIZATION, SIXTEEN_BITS, utilization_of
from kvtop.domain.answers.plan_answer import Fit, device_fit
from kvtop.domain.plan import MemoryPlan


def pool_capacity_fix(target: LintTarget, seen: Observed) -> str:
    """Of vLLM: eight bits where a backend takes them, more of the card, fewer requests at once."""
    kind = target.value("kv-cache-dtype")
    answer = target.answer_with(kv_cache_dtype="fp8") if kind in SIXTEEN_BITS else None
    capability = target.devices[0].compute_capability if target.devices else None
    takes_fp8 = isinstance(answer, MemoryPlan) and capability is not None and capability >= (8, 9)
    fewer = int((seen.requests_running or 0) * 3 / 4)
    low = target.launch is not None and utilization_of(target) < DEFAULT_UTILIZATION
    return any_of(
        "--kv-cache-dtype fp8" if takes_fp8 else "",
        f"--gpu-memory-utilization {DEFAULT_UTILIZATION:g}" if low else "",
        f"--max-num-seqs {fewer}" if fewer > 0 else "a smaller --max-num-seqs",
        "" if takes_fp8 or kind not in SIXTEEN_BITS else "--kv-cache-dtype fp8 where the card takes it",
    )


def context_capacity_fix(target: LintTarget) -> str:
    """Of llama.cpp: twice the context, at eight bits where it does not fit as it is; its cells are what is full."""
    plan, hparams = target.plan, target.hparams
    if plan is None or plan.context is None or hparams is None:
        return "a larger -c (--ctx-size), or fewer slots (-np)"
    now, most = plan.context.n_ctx, hparams.n_ctx_train * plan.context.n_seq_max
    wanted = min(now * 2, most) if hparams.n_ctx_train > 0 else now * 2
    if wanted <= now:
        return f"shorter requests: the model was trained for {hparams.n_ctx_train} tokens"
    if _has_room(target, target.plan_with(ctx_size=str(wanted))):
        return f"-c {wanted}"
    smaller = smaller_cache(target)
    if smaller and _has_room(target, target.plan_with(ctx_size=str(wanted), cache_type_k="q8_0", cache_type_v="q8_0")):
        return f"-c {wanted} {cache_types('q8_0')}"
    return "fewer slots (-np) or shorter requests: twice the context does not fit the device"


def _has_room(target: LintTarget, plan: MemoryPlan | None) -> bool:
    rooms = {it.name: it.total_bytes if it.free_bytes is None else it.free_bytes for it in target.devices}
    if plan is None:
        return False
    return all(device_fit(part, rooms.get(part.name)).fit in {Fit.FITS, Fit.UNKNOWN} for part in plan.devices)
