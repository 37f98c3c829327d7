"""Plan every candidate, drop those without a reliable plan, and order the rest."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from kvtop.analysis.recommending.growing_cache import cache_grows
from kvtop.analysis.recommending.judging import hurts, judged
from kvtop.domain.answers.recommendation import Recommendation, Recommendations
from kvtop.domain.answers.room import Fit
from kvtop.domain.memory import Segment
from kvtop.planning.bisection import largest
from kvtop.planning.candidates import candidates
from kvtop.planning.protocol.recommend_request import STEP_TOKENS, Candidate, RecommendRequest
from kvtop.planning.registry import traits_of
from kvtop.planning.what_if import compare
from kvtop.text import bytes_text, tokens_text

MOST = 3
HOST = "host"
ONE_STEP = 0.25
"""A step of weight quantization (Q8_0 to Q6_K to Q5_K_M to Q4_K_M) saves at most about this share."""
LEAST_GAIN = 0.98
"""Of two with the same cache the later is offered if it takes less than this share of the other."""
CLEARLY = 0.95
"""… or if the other has less than this share of its speed."""
_ORDER = (Fit.FITS, Fit.TIGHT, Fit.UNKNOWN)


def recommend(request: RecommendRequest) -> Recommendations:
    """At most three configurations that fit. Never raises for what the rules do not know: that is left out."""
    fitting, left_out = _fitting(request, list(candidates(request)))
    notes: list[str] = []
    if not any(item.fit is Fit.FITS and not item.uses_host for item in fitting):
        shorter = _shortened(request)
        if shorter:
            is_placed = any(item.fit is Fit.FITS for item in fitting)
            what = "does not fit on the devices alone" if is_placed else "does not surely fit"
            notes.append(f"what was asked for {what}: configurations with a shorter context follow")
        # What was asked for comes first, even where it is tight.
        fitting = [*_ordered(request, fitting)[: MOST - min(len(shorter), 1)], *shorter]
        notes += _smaller_weights(request)
    else:
        fitting = _ordered(request, fitting)
    notes += _beyond_training(request) + _as_it_is(request) + _unknown_host(fitting[:MOST])
    traits = traits_of(request.now.engine)
    return Recommendations(
        request.now.engine,
        request.model,
        request.requirements,
        tuple(fitting[:MOST]),
        tuple(left_out),
        tuple(notes),
        is_quality_measurable=traits is not None and bool(traits.cache_quality_tool),
    )


def _ordered(request: RecommendRequest, items: Sequence[Recommendation]) -> list[Recommendation]:
    """What surely fits first; then by what is preferred. Equals stay in the order of advice."""
    if request.requirements.prefer == "memory":
        return sorted(items, key=lambda item: (_ORDER.index(item.fit), item.total_bytes))
    if request.requirements.prefer == "speed":
        return sorted(items, key=lambda item: (_ORDER.index(item.fit), hurts(item.evidence), -_decode_rate(item)))
    return sorted(items, key=lambda item: (_ORDER.index(item.fit), hurts(item.evidence), not item.speed.is_safe))


def _fitting(request: RecommendRequest, tried: Sequence[Candidate]) -> tuple[list[Recommendation], list[str]]:
    found: list[tuple[str, Recommendation]] = []
    left_out: list[str] = []
    futile: set[str] = set()
    for candidate in tried:
        item = judged(request, candidate)
        if isinstance(item, str):
            left_out.append(f"{candidate.cache}: {item}")
        elif item.evidence is not None and (item.cache in futile or _saves_nothing(item, [it for _, it in found])):
            # With a smaller micro-batch too: what that saves, it saves without quantization.
            futile.add(item.cache)
            left_out.append(f"{candidate.cache}: takes no less than the same without quantization")
        elif not any(item.changes == other.changes for _, other in found):
            found.append((candidate.alike or str(len(found)), item))
    return _without_filler(_fastest_placements(found)), list(dict.fromkeys(left_out))


def _fastest_placements(found: Sequence[tuple[str, Recommendation]]) -> list[Recommendation]:
    """Of several places for the same options the first, or a later one that fits better or is clearly faster."""
    best: dict[str, Recommendation] = {}
    for alike, item in found:
        known = best.get(alike)
        is_better = known is None or _ORDER.index(item.fit) < _ORDER.index(known.fit)
        if (
            known is None
            or is_better
            or (item.fit is known.fit and _decode_rate(item) * LEAST_GAIN > _decode_rate(known))
        ):
            best[alike] = item
    return list(best.values())


def _without_filler(found: Sequence[Recommendation]) -> list[Recommendation]:
    """Without those that neither save memory nor time against an earlier one with the same cache."""
    kept: list[Recommendation] = []
    for item in found:
        alike = [other for other in kept if other.cache == item.cache and other.fit is item.fit]
        if not any(
            item.total_bytes > other.total_bytes * LEAST_GAIN and _decode_rate(item) * CLEARLY < _decode_rate(other)
            for other in alike
        ):
            kept.append(item)
    return kept


def _decode_rate(item: Recommendation) -> float:
    """Tokens per second of the longest sequence, 0 where there is no estimate."""
    return item.decode[-1].tokens_per_second if item.decode else 0.0


def _saves_nothing(item: Recommendation, found: Sequence[Recommendation]) -> bool:
    if item.plan.memory.bytes_of(Segment.KV_CACHE) == 0:
        return True
    plain = [it.total_bytes for it in found if it.evidence is None and it.plan.vllm is None]
    return bool(plain) and item.total_bytes >= min(plain)


def _shortened(request: RecommendRequest) -> list[Recommendation]:
    """The longest context that surely fits, for the unquantized and the 8-bit cache."""
    most = request.requirements.context_tokens or _present_tokens(request)
    if most is None:
        return []
    request = replace(request, places_model=False)
    items = []
    for index in range(2):

        def at(steps: int, index: int = index) -> Candidate:
            tokens = steps * STEP_TOKENS
            candidate = next(islice(candidates(request, tokens), index, None))
            kind = "nothing quantized" if index == 0 else candidate.why
            why = f"the longest context that surely fits, {tokens_text(tokens)} of {tokens_text(most)}; {kind}"
            return replace(candidate, why=why)

        def fits(steps: int) -> bool:
            item = judged(request, at(steps))
            return not isinstance(item, str) and item.fit is Fit.FITS

        steps = largest(fits, most // STEP_TOKENS)
        item = judged(request, at(steps)) if steps else ""
        if not isinstance(item, str):
            items.append(item)
    if request.requirements.prefer == "memory":
        items.sort(key=lambda item: -(item.sequence_tokens or 0))
    return items


def _unknown_host(items: Sequence[Recommendation]) -> list[str]:
    """What lies on the host has to fit there too, and nobody said how much memory it has."""
    needs = [room for item in items if item.uses_host for room in item.rooms if room.name == HOST]
    if not needs or any(room.room_bytes is not None for room in needs):
        return []
    most = max(room.needed.most_bytes or 0 for room in needs)
    return [f"up to {bytes_text(most)} are needed on the host, whose memory is not known (--host 64GiB states it)"]


def _present_tokens(request: RecommendRequest) -> int | None:
    if request.now.context is not None:
        return request.now.context.n_ctx_seq
    if request.now.vllm is not None:
        return request.now.vllm.max_model_len_tokens
    return request.base.at_tokens


def _smaller_weights(request: RecommendRequest) -> list[str]:
    """How much smaller the weights would have to be for 8 bits and the context asked for."""
    steps = list(candidates(request))
    if request.now.context is None or len(steps) < 2:
        return []
    compared = compare(request.plan_context, request.now, steps[1].what_if)
    short = [
        most_bytes - device.room.low_bytes
        for device in compared.devices
        if device.is_whole and (most_bytes := device.needed.most_bytes) is not None and device.room is not None
    ]
    weights_bytes = request.now.memory.bytes_of(Segment.WEIGHTS) or 0
    if not short or not 0 < max(short) <= weights_bytes * ONE_STEP:
        return []
    smaller = bytes_text(max(short))
    advice = (
        f"weights {smaller} smaller would make room for the context asked for with 8 bits: a step down of theirs costs "
        "no more quality than 4-bit keys do (llama.cpp PR 7412)"
    )
    return [advice]


def _as_it_is(request: RecommendRequest) -> list[str]:
    """The first advice is to need less; nobody but the person who asks knows how much that is."""
    requirements = request.requirements
    if requirements.context_tokens is not None or requirements.users is not None or cache_grows(request.now.engine):
        return []
    advice = (
        "context and slots stay as they are; needing less of them is what saves first: `kvtop recommend --context "
        "TOKENS --users N` says how much"
    )
    return [advice]


def _beyond_training(request: RecommendRequest) -> list[str]:
    wished, trained = request.requirements.context_tokens, request.trained_tokens
    if wished is None or trained is None or wished <= trained:
        return []
    return [f"the model was trained for {trained} tokens; {wished} are beyond that"]
