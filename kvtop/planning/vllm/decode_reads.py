"""What vLLM reads on one rank to generate one token: its share of each matrix that the token uses, and of the cache."""

import re
from collections import Counter

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.memory import Segment
from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import PlanDevice, Refusal
from kvtop.planning.protocol.decode_reads import DecodeReads
from kvtop.planning.vllm.models.cached_layers import layer_count
from kvtop.planning.vllm.models.config_view import view
from kvtop.planning.vllm.planner import plan_options
from kvtop.text import plain_number

_EXPERT = re.compile(r"\.experts?\.")
_EMBEDDING = re.compile(r"embed_tokens|word_embeddings|\bwte\b|tok_embeddings|embed_in")
_COUNTS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts")
_USED = ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_topk", "moe_k")


def decode_reads(
    launch: LaunchOptions, checkpoint: Checkpoint, devices: tuple[PlanDevice, ...], at_tokens: int
) -> DecodeReads | str:
    """The reads of one request with `at_tokens` in the pool, or why they are not known. Raises as `plan_options`."""
    found = plan_options(launch, checkpoint, devices)
    if isinstance(found, Refusal):
        return found.message
    pool = found.vllm
    tp_size = plain_number(launch.value("tensor-parallel-size")) or 1
    # One rank of each pipeline stage: those of a stage read side by side.
    parts = [part for part in found.devices if part.name != "host"][::tp_size]
    held = {part.name: part.memory.bytes_of(Segment.WEIGHTS) for part in parts}
    if pool is None or not parts or None in held.values():
        return "the weights of a rank are not known"
    share = _share_read(checkpoint)
    if share is None:
        return "which of the weights are experts is not known"
    config = view(checkpoint.config)
    layers = layer_count(config)
    weights = Counter({name: round((amount or 0) * share) for name, amount in held.items()})
    cache = Counter({part.name: round(pool.bytes_per_token_per_rank * at_tokens / len(parts)) for part in parts})
    blocks = {part.name: layers // len(parts) for part in parts}
    return DecodeReads(
        at_tokens=at_tokens,
        weights=weights,
        cache=cache,
        blocks=blocks,
        mixtures=blocks if share < 1 and _first(checkpoint, _COUNTS) else {},
        crossings=len(parts) - 1,
        crossing_bytes=2 * (config.whole("hidden_size") or 0),
        ranks=tp_size,
    )


def _share_read(checkpoint: Checkpoint) -> float | None:
    """The share of the checkpoint's bytes that one token uses; None for a mixture whose experts have other names."""
    total = sum(tensor.size_bytes for tensor in checkpoint.tensors)
    count, used = _first(checkpoint, _COUNTS), _first(checkpoint, _USED)
    is_mixture = 0 < used < count
    if not total:
        return None if is_mixture else 1.0
    experts = sum(tensor.size_bytes for tensor in checkpoint.tensors if _EXPERT.search(tensor.name))
    if is_mixture and not experts:
        return None
    idle = experts * (1 - used / count) if is_mixture else 0.0
    has_head = any("lm_head" in tensor.name or "embed_out" in tensor.name for tensor in checkpoint.tensors)
    rows = sum(tensor.size_bytes for tensor in checkpoint.tensors if _EMBEDDING.search(tensor.name)) if has_head else 0
    return max(total - idle - rows, 0.0) / total


def _first(checkpoint: Checkpoint, names: tuple[str, ...]) -> int:
    configs = [checkpoint.config, checkpoint.config.get("text_config")]
    for config in configs:
        for name in names:
            value = config.get(name) if isinstance(config, dict) else None
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return 0
