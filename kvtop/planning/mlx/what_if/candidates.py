"""What may be tried for mlx_lm.server: fewer bits for the cache."""

from collections.abc import Iterator, Sequence

from kvtop.domain.answers.what_if import replace_length
from kvtop.planning.protocol.recommend_request import FIRST_STEP, Candidate, RecommendRequest, reference_reason


def candidates(request: RecommendRequest, tokens: int | None) -> Iterator[Candidate]:
    """In the order of advice, sequences of `tokens` (None: as the command has it)."""
    sized = request.base if tokens is None else replace_length(request.base, tokens)
    plain = sized.with_changes(**{"kv-bits": None})
    yield Candidate("16-bit", ("f16", "f16"), plain, reference_reason(request))
    kinds: Sequence[tuple[str, bool]] = (("8", False), ("4", True))
    for bits, needs in kinds:
        named = f"mlx {bits}-bit g{request.base.value('kv-group-size') or '64'}"
        why = FIRST_STEP if bits == "8" else "fewer than 8 bits, because they were measured on this model"
        yield Candidate(f"{bits}-bit", (named, named), sized.with_changes(**{"kv-bits": bits}), why, needs)
