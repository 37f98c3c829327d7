"""More tensor-parallel ranks than KV heads: every further rank holds a copy of the cache.

Why: a rank keeps at least one KV head. With 4 heads on 8 ranks each head is stored twice, so the pool of a card stops
growing; a latent cache (DeepSeek, Kimi) has one head and is stored on every rank. Often the weights need the ranks all
the same, so it is a warning only where another arrangement of the same cards holds many more tokens by the plan, and
nothing where none holds more. Dividing a latent row costs time at every step, so there it is an info.

Source: vLLM 0.32.0 `ModelConfig.get_num_kv_heads`, `v1/kv_cache_interface.py` (max_tp_shards).

Cost: computed: the tokens that the cards hold as they are arranged, and would hold.

Fix: fewer ranks and `--data-parallel-size` beside them, or `--decode-context-parallel-size`.

Fires on: 4 KV heads on 8 ranks. Quiet on: the same on 4.
"""

from kvtop.analysis.lint.fixes.fix import Way, options
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.analysis.lint.vllm_pool import whole
from kvtop.domain.figure import Basis
from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan, NoExactRuleError

ENGINES: tuple[str, ...] = ("vllm",)
READS_LAUNCH = True
FIRES = Example("vllm serve MODEL -tp 8", gpus=("H100",) * 8, model="qwen2.5-7b")
QUIET = Example("vllm serve MODEL -tp 4", gpus=("H100",) * 4, model="qwen2.5-7b")
UNPLANNED = "fewer tensor-parallel ranks and more data-parallel ones, if the weights fit"
LITTLE_GAIN = 1.1
MUCH_GAIN = 1.5
"""Times the tokens of the whole machine: below that the next restart is soon enough."""


def check(target: LintTarget) -> Outcome:
    """Needs config.json."""
    ranks = whole(target, "tensor-parallel-size") or 1
    if ranks == 1:
        return None
    if target.checkpoint is None:
        return Lacks(f"the number of KV heads is unknown: {target.model_note}")
    # One engine's rules at a time: the dashboard should be there at once.
    from kvtop.planning.vllm.models.cached_layers import total_kv_heads  # noqa: PLC0415
    from kvtop.planning.vllm.models.config_view import view  # noqa: PLC0415

    config = view(target.checkpoint.config)
    is_latent = config.whole("kv_lora_rank") is not None
    try:
        heads = 1 if is_latent else total_kv_heads(config)
    except (NoExactRuleError, KeyError, ValueError, TypeError) as error:
        return Lacks(f"the number of KV heads is unknown: {error}")
    shards = heads * (whole(target, "decode-context-parallel-size") or 1)
    if shards <= 0 or ranks <= shards:
        return None
    copies = ranks / shards
    per_token = None if target.plan is None or target.plan.vllm is None else target.plan.vllm.bytes_per_token_per_rank
    cost = f"every token is stored {copies:g} times"
    if per_token is not None:
        cost += f": {per_token * (ranks - shards):.0f} redundant bytes per token over all ranks"
    what = "one latent row" if is_latent else f"{heads} KV heads"
    fix, gain = _better(target, ranks, heads, is_latent=is_latent)
    if gain is not None and gain < LITTLE_GAIN:
        return None
    if gain is not None:
        cost += f"; {gain:.2g} times the tokens fit the same cards otherwise"
    is_sure = target.plan is not None and _is_exact(target.plan)
    return Found(
        "warning" if is_sure and not is_latent and gain is not None and gain >= MUCH_GAIN else "info",
        f"{what} on {ranks} ranks: the cache is stored {copies:g} times over",
        evidence=f"{target.said('tensor-parallel-size')}; {what} in config.json",
        cost=cost,
        fix=fix,
        otherwise=UNPLANNED,
    )


def _is_exact(plan: MemoryPlan) -> bool:
    """Whether weights and pool of every rank are known to the byte, or not at all."""
    sure = (part.memory[segment] for part in plan.devices for segment in (Segment.WEIGHTS, Segment.KV_CACHE))
    return all(figure.basis is not Basis.ESTIMATED for figure in sure)


def _better(target: LintTarget, ranks: int, heads: int, *, is_latent: bool) -> tuple[tuple[Way, ...], float | None]:
    """The arrangement of the same cards that holds most tokens, and how many times as many; None where it is unknown.

    A latent row can be divided by `--decode-context-parallel-size`, if a backend of the card does that.
    """
    now = None if target.plan is None else _tokens(target.plan, whole(target, "data-parallel-size") or 1)
    copies = max(ranks // heads, 1)
    apart = (whole(target, "data-parallel-size") or 1) * copies
    arranged = {"tensor_parallel_size": str(heads), "data_parallel_size": str(apart)}
    ways = [(apart, arranged)]
    if is_latent:
        ways.insert(0, (1, {"decode_context_parallel_size": str(ranks)}))
    best: tuple[tuple[Way, ...], float] = ((), 0.0)
    for replicas, changes in ways:
        plan = target.plan_with(**changes)
        tokens = None if plan is None else _tokens(plan, replicas)
        if now is not None and tokens is not None and tokens / now > best[1]:
            best = ((options(**changes),), tokens / now)
    return best if best[1] else ((UNPLANNED,), None)


def _tokens(plan: MemoryPlan, replicas: int) -> int | None:
    """What all replicas hold together, by the likeliest pool; None where the pool is unknown or empty."""
    pool = plan.vllm
    if pool is None:
        return None
    each = pool.kv_cache_tokens if pool.pool_estimate is None else pool.pool_estimate.tokens
    return each * replicas if each else None
