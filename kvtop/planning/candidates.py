"""What a recommendation may try, for any engine: each engine gives its own, in the order of advice."""

from collections.abc import Iterator

from kvtop.planning.protocol.recommend_request import Candidate, RecommendRequest
from kvtop.planning.registry import engine_rules


def candidates(request: RecommendRequest, sequence_tokens: int | None = None) -> Iterator[Candidate]:
    """All that may be tried for this engine, sequences of `sequence_tokens` (None: as required)."""
    tokens = sequence_tokens if sequence_tokens is not None else request.requirements.context_tokens
    rules = engine_rules(request.now.engine)
    return iter(()) if rules is None else rules.candidates(request, tokens)
