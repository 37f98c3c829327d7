"""What may be tried for `vllm serve`: FP8, more of the card, more cards, narrower numbers."""

from collections.abc import Iterator

from kvtop.planning.protocol.knobs import unset
from kvtop.planning.protocol.recommend_request import FIRST_STEP, Candidate, RecommendRequest, reference_reason
from kvtop.planning.vllm.what_if.knobs import DEFAULTS
from kvtop.text import plain_number

_WIDE_DTYPES = frozenset({"float32", "float"})


def candidates(request: RecommendRequest, tokens: int | None) -> Iterator[Candidate]:
    """In the order of advice, sequences of `tokens` (None: as the command has it)."""
    sized = request.base
    if tokens is not None:
        sized = sized.with_changes(**{"max-model-len": str(tokens)})
    if request.requirements.users is not None:
        sized = sized.with_changes(**{"max-num-seqs": str(request.requirements.users)})
    full = sized.with_changes(**{"gpu-memory-utilization": "0.95"}) if _measures_itself(request) else None
    fp8: dict[str, str | None] = {"kv-cache-dtype": "fp8"}
    plain = {"kv-cache-dtype": unset(sized, "kv-cache-dtype", DEFAULTS)}
    yield Candidate("auto", ("auto", "auto"), sized.with_changes(**plain), reference_reason(request))
    yield Candidate("fp8", ("fp8_e4m3", "fp8_e4m3"), sized.with_changes(**fp8), f"FP8: {FIRST_STEP}")
    if full is not None:
        more = "and 95 % of the card for vLLM: run nothing else on it"
        default = full.with_changes(**plain)
        yield Candidate("auto", ("auto", "auto"), default, f"nothing quantized, {more}")
        yield Candidate("fp8", ("fp8_e4m3", "fp8_e4m3"), full.with_changes(**fp8), f"FP8 {more}")
    ranks = plain_number(request.base.value("tensor-parallel-size") or "1") or 1
    for count in _wider(ranks, len(request.plan_context.devices)):
        for cache, pair, types in (("auto", ("auto", "auto"), plain), ("fp8", ("fp8_e4m3", "fp8_e4m3"), fp8)):
            wide = sized.with_changes(**types, **{"tensor-parallel-size": str(count)})
            kind = "nothing quantized" if cache == "auto" else "FP8"
            yield Candidate(cache, pair, wide, f"{kind}, over {count} cards", placement=f"over {count} cards")
    if sized.value("dtype") in _WIDE_DTYPES:
        narrow = sized.with_changes(**plain, dtype="bfloat16")
        yield Candidate(
            "auto", ("auto", "auto"), narrow, "bfloat16 instead of float32: half the bytes of weights and cache"
        )


def _wider(ranks: int, cards: int) -> list[int]:
    """Powers of two, and all cards, beyond the ranks there are."""
    powers = [1 << power for power in range(1, 7)]
    return sorted({count for count in (*powers, cards) if ranks < count <= cards})


def _measures_itself(request: RecommendRequest) -> bool:
    stated = ("kv-cache-memory-bytes", "num-gpu-blocks-override", "gpu-memory-utilization")
    return all(request.base.value(name) is None for name in stated)
