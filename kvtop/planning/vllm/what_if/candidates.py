"""What may be tried for `vllm serve`: FP8, more of the card, all cards."""

from collections.abc import Iterator

from kvtop.planning.protocol.knobs import unset
from kvtop.planning.protocol.recommend_request import FIRST_STEP, Candidate, RecommendRequest, reference_reason
from kvtop.planning.vllm.what_if.knobs import DEFAULTS
from kvtop.text import plain_number


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
    cards, ranks = len(request.plan_context.devices), request.base.value("tensor-parallel-size") or "1"
    if (plain_number(ranks) or cards) < cards:
        wide = sized.with_changes(**plain, **{"tensor-parallel-size": str(cards)})
        yield Candidate("auto", ("auto", "auto"), wide, f"nothing quantized, over all {cards} cards")


def _measures_itself(request: RecommendRequest) -> bool:
    stated = ("kv-cache-memory-bytes", "num-gpu-blocks-override", "gpu-memory-utilization")
    return all(request.base.value(name) is None for name in stated)
