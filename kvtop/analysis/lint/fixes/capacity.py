"""What makes room in the cache of a running server, as options of its engine."""

from kvtop.analysis.lint.fixes.fix import Way, cache_types, options, safe_type
from kvtop.analysis.lint.observed import Observed
from kvtop.analysis.lint.target import LintTarget
from kvtop.analysis.lint.vllm_pool import DEFAULT_UTILIZATION, SIXTEEN_BITS, utilization_of


def pool_capacity_fix(target: LintTarget, seen: Observed) -> tuple[Way, ...]:
    """Of vLLM: eight bits where the card reads them, more of the card, fewer requests at once."""
    capability = target.devices[0].compute_capability if target.devices else None
    ways: list[Way] = []
    if target.value("kv-cache-dtype") in SIXTEEN_BITS:
        if capability is None:
            ways.append("--kv-cache-dtype fp8 where the card takes it")
        elif capability >= (8, 9):
            ways.append(options(kv_cache_dtype="fp8"))
    if target.launch is not None and utilization_of(target) < DEFAULT_UTILIZATION:
        ways.append(options(gpu_memory_utilization=f"{DEFAULT_UTILIZATION:g}"))
    fewer = int((seen.requests_running or 0) * 3 / 4)
    ways.append(options(max_num_seqs=str(fewer)) if fewer > 0 else "a smaller --max-num-seqs")
    return tuple(ways)


def context_capacity_fix(target: LintTarget) -> tuple[Way, ...]:
    """Of llama.cpp: twice the context, at eight bits where it does not fit as it is; its cells are what is full."""
    plan, hparams = target.plan, target.hparams
    if plan is None or plan.context is None or hparams is None:
        return ("a larger -c (--ctx-size), or fewer slots (-np)",)
    now, most = plan.context.n_ctx, hparams.n_ctx_train * plan.context.n_seq_max
    wanted = min(now * 2, most) if hparams.n_ctx_train > 0 else now * 2
    if wanted <= now:
        return (f"shorter requests: the model was trained for {hparams.n_ctx_train} tokens",)
    smaller = () if safe_type(target) == "f16" else (cache_types("q8_0", ctx_size=str(wanted)),)
    return (options(ctx_size=str(wanted)), *smaller, "fewer slots (-np) or shorter requests")
