"""More tensor-parallel ranks than KV heads: every further rank holds a copy of the cache.

Why: a rank keeps at least one KV head. With 4 heads on 8 ranks each head is stored twice, so the pool of a card stops
growing; a latent cache (DeepSeek, Kimi) has one head and is stored on every rank.

Source: vLLM 0.32.0 `ModelConfig.get_num_kv_heads`, `v1/kv_cache_interface.py` (max_tp_shards).

Cost: computed: the copies' share of the pool.

Fix: fewer ranks and `--data-parallel-size` beside them, or `--decode-context-parallel-size`.

Fires on: 4 KV heads on 8 ranks. Quiet on: the same on 4.
"""

from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import Subject
from kvtop.analysis.lint.vllm_pool import whole
from kvtop.domain.plan import NoExactRuleError

ENGINES: tuple[str, ...] = ("vllm",)
READS_LAUNCH = True
FIRES = Example("vllm serve MODEL -tp 8", gpus=("H100",) * 8, model="qwen3-30b-a3b")
QUIET = Example("vllm serve MODEL -tp 4", gpus=("H100",) * 4, model="qwen3-30b-a3b")


def check(subject: Subject) -> Outcome:
    """Needs config.json."""
    ranks = whole(subject, "tensor-parallel-size") or 1
    if ranks == 1:
        return None
    if subject.checkpoint is None:
        return Lacks(f"the number of KV heads is unknown: {subject.model_note}")
    # One engine's rules at a time: the dashboard should be there at once.
    from kvtop.planning.vllm.models.config_view import view  # noqa: PLC0415
    from kvtop.planning.vllm.specs.cached_layers import total_kv_heads  # noqa: PLC0415

    config = view(subject.checkpoint.config)
    is_latent = config.whole("kv_lora_rank") is not None
    try:
        heads = 1 if is_latent else total_kv_heads(config)
    except (NoExactRuleError, KeyError, ValueError, TypeError) as error:
        return Lacks(f"the number of KV heads is unknown: {error}")
    shards = heads * (whole(subject, "decode-context-parallel-size") or 1)
    if shards <= 0 or ranks <= shards:
        return None
    copies = ranks / shards
    per_token = (
        None if subject.plan is None or subject.plan.vllm is None else subject.plan.vllm.bytes_per_token_per_rank
    )
    cost = f"every token is stored {copies:g} times"
    if per_token is not None:
        cost += f": {per_token * (ranks - shards):.0f} bytes a token over all ranks for nothing"
    what = "one latent row" if is_latent else f"{heads} KV heads"
    return Found(
        "info" if is_latent else "warning",
        f"{what} on {ranks} ranks: the cache is stored {copies:g} times over",
        evidence=f"{subject.said('tensor-parallel-size')}; {what} in config.json",
        cost=cost,
        fix=f"--tensor-parallel-size {heads} --data-parallel-size {max(ranks // heads, 1)}"
        if not is_latent
        else f"--decode-context-parallel-size {ranks}, or --tensor-parallel-size 1 --data-parallel-size {ranks} where "
        "the weights leave room",
    )
