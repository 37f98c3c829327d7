"""One candidate: planned, held against rooms and evidence, and made a recommendation or dropped with the reason."""

import shlex

from kvtop.analysis.evidence import DISTANCES, evidence_for
from kvtop.analysis.recommending.growing_cache import cache_grows, of_many
from kvtop.domain.answers.cache_speed import CacheSpeed, Speed
from kvtop.domain.answers.decode_speed import DecodeSpeed
from kvtop.domain.answers.evidence import Evidence, Match, Tier
from kvtop.domain.answers.plan_answer import DeviceFit
from kvtop.domain.answers.recommendation import Recommendation
from kvtop.domain.answers.room import Fit
from kvtop.domain.answers.what_if import DeviceChange, WhatIfComparison
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, Refusal
from kvtop.planning.cache_speed import cache_speed
from kvtop.planning.commands.launch_command import command_words
from kvtop.planning.decode_speed import decode_speed
from kvtop.planning.frontier import concurrency, holds
from kvtop.planning.protocol.recommend_request import Candidate, RecommendRequest
from kvtop.planning.registry import engine_rules
from kvtop.planning.what_if import compare

HARM_NATS, HARM_SAME_TOP_PERCENT = 0.05, 95.0
"""Fewer than 8 bits are offered up to this mean divergence, or from this share of equal top tokens on; 8 bits that did
worse on this family come last, with a warning."""
SHORT_TOKENS = 1024
"""The length of a short sequence, which decode speed is estimated for beside the longest."""
_REFERENCE = frozenset({"f16", "bf16", "f32", "auto"})


def judged(request: RecommendRequest, candidate: Candidate) -> Recommendation | str:
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
        rooms = [room_of(request, device) for device in compared.devices]
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
    rooms = tuple(room_of(request, device) for device in compared.devices)
    tokens, sequences = _capacity(candidate, compared, plan, request.requirements.users or 1)
    warning = f"; measured to change this family's output ({_worst(evidence)})" if hurts(evidence) else ""
    words = command_words(candidate.what_if.base, candidate.what_if.changes, request.words)
    decode, decode_note = _decode(request, candidate, tokens)
    return Recommendation(
        candidate.cache,
        fit,
        tokens,
        sequences,
        plan,
        rooms,
        sum(room.least_bytes for room in rooms),
        evidence,
        speed,
        candidate.why + warning,
        shlex.join(words),
        candidate.what_if.changes,
        candidate.placement,
        candidate.uses_host,
        decode,
        decode_note,
    )


def _decode(request: RecommendRequest, candidate: Candidate, tokens: int | None) -> tuple[tuple[DecodeSpeed, ...], str]:
    """Estimates with a short sequence and with the longest, or why there are none."""
    rules = engine_rules(candidate.what_if.base.engine)
    if rules is None:
        return (), "this engine has no rules"
    context = request.plan_context
    found: list[DecodeSpeed] = []
    for length in dict.fromkeys((min(SHORT_TOKENS, tokens or SHORT_TOKENS), tokens or SHORT_TOKENS)):
        try:
            reads = rules.decode_reads(candidate.what_if.launch, context.model, context.devices, length)
        except NoExactRuleError as error:
            return (), str(error)
        speed = reads if isinstance(reads, str) else decode_speed(reads, context.devices, request.host_bytes_per_second)
        if isinstance(speed, str):
            return (), speed
        found.append(speed)
    return tuple(found), ""


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


def room_of(request: RecommendRequest, device: DeviceChange) -> DeviceFit:
    products = {it.name: it.product for it in request.plan_context.devices}
    return DeviceFit(device.name, device.known, device.room, device.is_whole, products.get(device.name, ""))


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


def hurts(evidence: Evidence | None) -> bool:
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
