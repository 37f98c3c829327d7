"""What may be tried for llama-server: cache types, the micro-batch, and where the model lies."""

from collections.abc import Iterator
from dataclasses import replace

from kvtop.domain.answers.what_if import WhatIf
from kvtop.planning.llamacpp.what_if.knobs import DEFAULTS
from kvtop.planning.llamacpp.what_if.placements import placements, unchanged_by_fit
from kvtop.planning.protocol.knobs import unset
from kvtop.planning.protocol.recommend_request import FIRST_STEP, Candidate, RecommendRequest, reference_reason
from kvtop.text import plain_number

SMALL_UBATCH = 256
_SMALL = f"a micro-batch of {SMALL_UBATCH}: less compute memory, slower prompts"


def candidates(request: RecommendRequest, tokens: int | None) -> Iterator[Candidate]:
    """In the order of advice, sequences of `tokens` (None: as the command has it)."""
    return _tried(request, _sized(request, tokens))


def _sized(request: RecommendRequest, tokens: int | None) -> WhatIf:
    """The context and slots wished for: with users named, each slot gets its own whole context."""
    context, users = request.now.context, request.requirements.users
    what_if = request.base
    if context is None:
        return what_if
    length = tokens if tokens is not None else context.n_ctx_seq
    if users is not None and (users, False) != (context.n_seq_max, context.kv_unified):
        own = {"parallel": str(users)}
        if users > 1 and what_if.value("kv-unified") == "true":
            own["kv-unified"] = "false"
        what_if = what_if.with_changes(**own)
        return what_if.with_changes(**{"ctx-size": str(length * users)})
    if tokens is None and request.is_fitted:
        # The context that `--fit` chose for other options is not what it would choose for these.
        return what_if.with_changes(**{"ctx-size": str(context.n_ctx)})
    if tokens is None:
        return what_if
    return what_if.with_changes(**{"ctx-size": str(length * (1 if context.kv_unified else context.n_seq_max))})


def _tried(request: RecommendRequest, sized: WhatIf) -> Iterator[Candidate]:
    def typed(type_k: str, type_v: str, ubatch: int | None = None) -> WhatIf:
        words: dict[str, str | None] = {"cache-type-k": type_k, "cache-type-v": type_v, "flash-attn": "on"}
        if ubatch is not None:
            words["ubatch-size"] = str(ubatch)
        return sized.with_changes(**words)

    plain = sized.with_changes(**{name: unset(sized, name, DEFAULTS) for name in ("cache-type-k", "cache-type-v")})
    yield from _placed(request, ("f16", "f16"), plain, reference_reason(request))
    eight = list(_placed(request, ("q8_0", "q8_0"), typed("q8_0", "q8_0"), FIRST_STEP))
    yield from eight
    ubatch = request.base.value("ubatch-size") or "512"
    if (plain_number(ubatch) or SMALL_UBATCH + 1) > SMALL_UBATCH:
        small = typed("q8_0", "q8_0", SMALL_UBATCH)
        yield from _placed(request, ("q8_0", "q8_0"), small, f"8 bits, and {_SMALL}")
        small = plain.with_changes(**{"ubatch-size": str(SMALL_UBATCH)})
        yield from _placed(request, ("f16", "f16"), small, f"nothing quantized, and {_SMALL}")
    for pair in (("q8_0", "q5_1"), ("q8_0", "q4_0"), ("q5_1", "q5_1"), ("q4_0", "q4_0")):
        # Where 8 bits fit, fewer do.
        for placed in eight:
            types = {"cache-type-k": pair[0], "cache-type-v": pair[1]}
            yield replace(
                placed,
                cache="/".join(pair),
                alike="/".join(pair),
                pair=pair,
                what_if=placed.what_if.with_changes(**types),
                why="fewer than 8 bits, because they were measured on this model",
                needs_measurement=True,
            )


def _placed(request: RecommendRequest, pair: tuple[str, str], what_if: WhatIf, why: str) -> Iterator[Candidate]:
    """With every placement that fits, `--fit` kept from changing it."""
    for found in placements(request, what_if):
        pinned = unchanged_by_fit(request, found.what_if)
        cache = "/".join(pair)
        alike = f"{cache} {what_if.value('ubatch-size')}"
        yield Candidate(cache, pair, pinned, why, placement=found.words, uses_host=found.uses_host, alike=alike)
