"""Plan every candidate, drop those without a reliable plan, and order the rest."""

import shlex
from collections.abc import Sequence
from dataclasses import replace

from kvtop.analysis.evidence import DISTANCES, evidence_for
from kvtop.analysis.recommending.growing_cache import cache_grows, of_many
from kvtop.domain.answers.cache_speed import CacheSpeed, Speed
from kvtop.domain.answers.evidence import Evidence, Match, Tier
from kvtop.domain.answers.plan_answer import DeviceFit
from kvtop.domain.answers.recommendation import Recommendation, Recommendations
from kvtop.domain.answers.room import Fit
from kvtop.domain.answers.what_if import DeviceChange, WhatIfComparison
from kvtop.domain.plan import Estimate, MemoryPlan, Refusal
from kvtop.planning.bisection import largest
from kvtop.planning.cache_speed import cache_speed
from kvtop.planning.candidates import candidates
from kvtop.planning.commands.launch_command import command_words
from kvtop.planning.frontier import concurrency, holds
from kvtop.planning.protocol.recommend_request import STEP_TOKENS, Candidate, RecommendRequest
from kvtop.planning.registry import traits_of
from kvtop.planning.what_if import compare
from kvtop.text import bytes_text, tokens_text

MOST = 3
HARM_NATS, HARM_SAME_TOP_PERCENT = 0.05, 95.0
"""Fewer than 8 bits are offered up to this mean divergence, or from this share of equal top tokens on; 8 bits that did
worse on this family come last, with a warning."""
ONE_STEP = 0.25
"""A step of weight quantization (Q8_0 to Q6_K to Q5_K_M to Q4_K_M) saves at most about this share."""
_ORDER = (Fit.FITS, Fit.TIGHT, Fit.UNKNOWN)
_REFERENCE = frozenset({"f16", "bf16", "f32", "auto"})


def recommend(request: RecommendRequest) -> Recommendations:
    """At most three configurations that fit. Never raises for what the rules do not know: that is left out."""
    fitting, left_out = _fitting(request, list(candidates(request)))
    notes: list[str] = []
    if not any(item.fit is Fit.FITS for item in fitting):
        shorter = _shortened(request)
        if shorter:
            notes.append("what was asked for does not surely fit: configurations with a shorter context follow")
        # What was asked for comes first, even where it is tight.
        fitting = [*_ordered(request, fitting)[: MOST - min(len(shorter), 1)], *shorter]
        notes += _smaller_weights(request)
    else:
        fitting = _ordered(request, fitting)
    notes += _beyond_training(request) + _as_it_is(request)
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
    return sorted(items, key=lambda item: (_ORDER.index(item.fit), _hurts(item.evidence), not item.speed.is_safe))


def _fitting(request: RecommendRequest, tried: Sequence[Candidate]) -> tuple[list[Recommendation], list[str]]:
    found: list[Recommendation] = []
    left_out: list[str] = []
    futile: set[str] = set()
    for candidate in tried:
        item = _judged(request, candidate)
        if isinstance(item, str):
            left_out.append(f"{candidate.cache}: {item}")
        elif item.evidence is not None and (item.cache in futile or _saves_nothing(item, found)):
            # With a smaller micro-batch too: what that saves, it saves without quantization.
            futile.add(item.cache)
            left_out.append(f"{candidate.cache}: takes no less than the same without quantization")
        elif not any(item.changes == other.changes for other in found):
            found.append(item)
    return found, list(dict.fromkeys(left_out))


def _saves_nothing(item: Recommendation, found: Sequence[Recommendation]) -> bool:
    if all(part.kv_cache_bytes == 0 for part in item.plan.devices):
        return True
    plain = [it.total_bytes for it in found if it.evidence is None and it.plan.vllm is None]
    return bool(plain) and item.total_bytes >= min(plain)


def _judged(request: RecommendRequest, candidate: Candidate) -> Recommendation | str:
    """The recommendation, or why it is none."""
    compared = compare(request.plan_context, request.now, candidate.what_if)
    plan = compared.then
    if plan is None or isinstance(plan, Refusal):
        return compared.note
    if cache_grows(plan.engine):
        compared = of_many(compared, request.requirements.users or 1)
    evidence = _evidence(request, candidate)
    lacks = _lacks_measurement(candidate, evidence)
    if lacks:
        return lacks
    speed = cache_speed(
        candidate.what_if.launch,
        plan,
        request.plan_context.model,
        request.plan_context.devices,
        version=request.version,
        are_devices_known=request.are_devices_known,
    )
    is_mixed, is_quantized = len(set(candidate.pair)) > 1, evidence is not None
    unsure = speed.speed is Speed.UNKNOWN and is_quantized
    # vLLM reads FP8 on older cards through one backend only, and nobody has checked that it does so rightly.
    is_odd = plan.vllm is not None and is_quantized and not speed.is_safe
    if speed.speed is Speed.ON_CPU or unsure or is_odd or (is_mixed and not speed.is_safe):
        return speed.note
    fit = _fit(request, compared, plan)
    if fit is Fit.TOO_LARGE:
        return _too_large(request, compared, plan)
    if fit is Fit.UNKNOWN:
        rooms = [_room(request, device) for device in compared.devices]
        if all(room.room_bytes is None for room in rooms):
            return "how much room there is, is unknown"
        if any(room.fit is Fit.TOO_LARGE for room in rooms):
            return _too_large(request, compared, plan)
    return _made(request, candidate, compared, plan, evidence, speed, fit)


def _made(
    request: RecommendRequest,
    candidate: Candidate,
    compared: WhatIfComparison,
    plan: MemoryPlan,
    evidence: Evidence | None,
    speed: CacheSpeed,
    fit: Fit,
) -> Recommendation:
    rooms = tuple(_room(request, device) for device in compared.devices)
    tokens, sequences = _capacity(candidate, compared, plan, request.requirements.users or 1)
    warning = f"; measured to change this family's output ({_worst(evidence)})" if _hurts(evidence) else ""
    words = command_words(candidate.what_if.base, candidate.what_if.changes, request.words)
    return Recommendation(
        candidate.cache,
        fit,
        tokens,
        sequences,
        plan,
        rooms,
        sum(room.needed.value_bytes for room in rooms),
        evidence,
        speed,
        candidate.why + warning,
        shlex.join(words),
        candidate.what_if.changes,
    )


def _capacity(
    candidate: Candidate, compared: WhatIfComparison, plan: MemoryPlan, users: int
) -> tuple[int | None, float | None]:
    """The longest sequence, and how many of that length fit at once."""
    if plan.context is not None:
        context = plan.context
        return context.n_ctx_seq, 1 if context.kv_unified else context.n_seq_max
    if plan.vllm is not None:
        span = concurrency(compared)
        return plan.vllm.max_model_len_tokens, None if span is None else span[1]
    return candidate.what_if.at_tokens, users


def _fit(request: RecommendRequest, compared: WhatIfComparison, plan: MemoryPlan) -> Fit:
    if plan.vllm is not None:
        return holds(concurrency(compared), request.requirements.users or 1)
    return compared.fit


def _too_large(request: RecommendRequest, compared: WhatIfComparison, plan: MemoryPlan) -> str:
    if plan.vllm is not None:
        span = concurrency(compared)
        likely = 0.0 if span is None else span[1]
        return f"room for {likely:.1f} requests of full length, {request.requirements.users or 1} asked for"
    return "does not fit"


def _room(request: RecommendRequest, device: DeviceChange) -> DeviceFit:
    known = tuple(change.then_bytes or 0 for change in device.segments)
    least = sum(known) + device.beyond_bytes
    products = {it.name: it.product for it in request.plan_context.devices}
    needed = device.needed if device.needed is not None else Estimate(least, least, least)
    return DeviceFit(device.name, needed, device.room, device.needed is not None, products.get(device.name, ""))


def _evidence(request: RecommendRequest, candidate: Candidate) -> Evidence | None:
    if set(candidate.pair) <= _REFERENCE:
        return None
    return evidence_for(request.model, request.architecture, *candidate.pair, request.own)


def _lacks_measurement(candidate: Candidate, evidence: Evidence | None) -> str:
    if not candidate.needs_measurement or evidence is None:
        return ""
    if evidence.match is not Match.THIS_MODEL:
        return "fewer than 8 bits, and no measurement for this model"
    found = evidence.measurements[0]
    if found.metric in DISTANCES and found.value is not None:
        return "" if found.value <= HARM_NATS else f"measured on this model: divergence {found.value:g} {found.unit}"
    if found.metric == "same_top_token" and found.value is not None:
        same = found.value >= HARM_SAME_TOP_PERCENT
        return "" if same else f"measured on this model: {found.value:g} % same top token"
    return "no divergence was measured for this model"


def _hurts(evidence: Evidence | None) -> bool:
    """Whether the most telling measurement of this model or family is bad."""
    return bool(_worst(evidence))


def _worst(evidence: Evidence | None) -> str:
    if evidence is None or evidence.match is Match.NONE:
        return ""
    for found in evidence.measurements:
        if found.tier is Tier.PROJECT or found.value is None:
            continue
        if found.metric in DISTANCES and found.value > HARM_NATS:
            return f"divergence {found.value:g} on {found.model}"
        if found.metric == "same_top_token" and found.value < HARM_SAME_TOP_PERCENT:
            return f"{found.value:g} % same top token on {found.model}"
    return ""


def _shortened(request: RecommendRequest) -> list[Recommendation]:
    """The longest context that surely fits, for the unquantized and the 8-bit cache."""
    most = request.requirements.context_tokens or _present_tokens(request)
    if most is None:
        return []
    items = []
    for index in range(2):

        def at(steps: int, index: int = index) -> Candidate:
            tokens = steps * STEP_TOKENS
            candidate = list(candidates(request, tokens))[index]
            kind = "nothing quantized" if index == 0 else candidate.why
            why = f"the longest context that surely fits, {tokens_text(tokens)} of {tokens_text(most)}; {kind}"
            return replace(candidate, why=why)

        def fits(steps: int) -> bool:
            item = _judged(request, at(steps))
            return not isinstance(item, str) and item.fit is Fit.FITS

        steps = largest(fits, most // STEP_TOKENS)
        item = _judged(request, at(steps)) if steps else ""
        if not isinstance(item, str):
            items.append(item)
    if request.requirements.prefer == "memory":
        items.sort(key=lambda item: -(item.sequence_tokens or 0))
    return items


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
        device.needed.high_bytes - device.room.low_bytes
        for device in compared.devices
        if device.needed is not None and device.room is not None
    ]
    weights_bytes = sum(part.weights_bytes or 0 for part in request.now.devices)
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
