"""Recommendations as text for a terminal and as JSON, schema `kvtop.recommend/1` (names are only added to)."""

import json
from collections.abc import Sequence

from kvtop.domain.answers.cache_speed import CacheSpeed, Speed
from kvtop.domain.answers.decode_speed import DecodeSpeed, MemoryRead
from kvtop.domain.answers.evidence import Evidence, Match, Measurement, Tier
from kvtop.domain.answers.plan_answer import DeviceFit
from kvtop.domain.answers.recommendation import Recommendation, Recommendations
from kvtop.domain.answers.room import Fit
from kvtop.text import bytes_text, tokens_text
from kvtop.views.export.recommend_types import (
    SCHEMA,
    DecodeJson,
    EvidenceJson,
    FigureJson,
    RecommendationJson,
    RecommendJson,
    RoomJson,
)
from kvtop.views.text.room_words import available_words

_MARKS = {
    Fit.FITS: "fits",
    Fit.TIGHT: "fits unless the estimate is at its high end",
    Fit.UNKNOWN: "its known part fits",
}


def recommendations_text(found: Recommendations) -> str:
    """Numbered, the best first; then what was left out and why."""
    lines = [f"{found.model}  ({found.engine}; {_wish(found)})", ""]
    for number, item in enumerate(found.items, 1):
        lines += [*_item(number, item), ""]
    if not found.items:
        lines += ["no configuration fits", ""]
    lines += [f"left out: {line}" for line in found.left_out]
    lines += [f"note: {line}" for line in found.notes]
    lines += [f"note: {line}" for line in _decode_notes(found)]
    if found.is_quality_measurable:
        lines.append("`kvtop quality -- COMMAND` measures a pair of cache types on this model and your own text")
    return "\n".join(lines).rstrip() + "\n"


def _wish(found: Recommendations) -> str:
    requirements = found.requirements
    tokens = (
        "context as it is"
        if requirements.context_tokens is None
        else f"context {tokens_text(requirements.context_tokens)}"
    )
    users = "" if requirements.users is None else f", {requirements.users} at once"
    return f"{tokens}{users}, {requirements.prefer} first"


def _item(number: int, item: Recommendation) -> list[str]:
    count = "" if item.sequences is None else f", {_count(item)} at once"
    place = f", {item.placement}" if item.placement else ""
    head = f"{number}. {item.cache}{place}, sequences of {tokens_text(item.sequence_tokens)}{count}: {_MARKS[item.fit]}"
    lines = [head, f"   why      {item.why}"]
    lines += [f"   {_device(room)}" for room in item.rooms]
    lines += [f"   quality  {line}" for line in quality_lines(item.evidence)]
    lines.append(f"   speed    {speed_line(item.speed)}")
    lines += [f"   decode   {line}" for line in decode_lines(item)]
    lines.append(f"   command  {item.command}")
    return lines


def _count(item: Recommendation) -> str:
    """How many sequences: set by an option, or what a pool holds, which is likely where vLLM has yet to measure it."""
    sequences = item.sequences or 0
    text = f"{sequences:.0f}" if sequences == int(sequences) or sequences >= 100 else f"{sequences:.1f}"
    vllm = item.plan.vllm
    return f"about {text}" if vllm is not None and vllm.max_concurrency is None else text


def _device(room: DeviceFit) -> str:
    needed = room.needed
    least = "" if room.is_whole else "at least "
    span = ""
    if bytes_text(needed.least_bytes) != bytes_text(needed.most_bytes):
        span = f", {bytes_text(needed.least_bytes)} to {bytes_text(needed.most_bytes)}"
    of = "" if room.room is None else f" of {available_words(room.room)}"
    return f"{room.name:8} {least}{bytes_text(needed.value_bytes)}{of}{span}"


def speed_line(speed: CacheSpeed) -> str:
    """The caveat, or that there is none."""
    if speed.speed is Speed.FINE:
        return speed.note or "read as it is stored, on the device"
    return f"{speed.speed.value}: {speed.note}"


def decode_lines(item: Recommendation) -> list[str]:
    """The estimates of tokens per second with their ranges, or why there are none."""
    if not item.decode:
        return [f"no estimate: {item.decode_note}"] if item.decode_note else []
    spans = [f"{_rate(it.tokens_per_second)} ({_rate(it.low)} to {_rate(it.high)})" for it in item.decode]
    lengths = [f"{tokens_text(it.at_tokens)} in the cache" for it in item.decode]
    first, *others = (f"{span} with {length}" for span, length in zip(spans, lengths, strict=True))
    reads = " and ".join(f"{bytes_text(it.read_bytes)} of {it.name} ({_speed(it)})" for it in item.decode[-1].reads)
    return ["estimated tokens/s: " + ", ".join((first, *others)), f"a token reads {reads}"]


def _speed(read: MemoryRead) -> str:
    low, high = (f"{it / 10**9:.0f}" for it in (read.low_bytes_per_second, read.high_bytes_per_second))
    return f"{low} GB/s" if low == high else f"{low} to {high} GB/s"


def _decode_notes(found: Recommendations) -> list[str]:
    """How the estimates follow, and where the bandwidths are from."""
    speeds = [speed for item in found.items for speed in item.decode]
    if not speeds:
        return []
    sources = dict.fromkeys(f"{read.name} {read.source}" for speed in speeds for read in speed.reads)
    return [f"tokens/s are {speeds[0].basis}", f"bandwidths: {'; '.join(sources)}"]


def _rate(tokens_per_second: float) -> str:
    return f"{tokens_per_second:.0f}" if tokens_per_second >= 10 else f"{tokens_per_second:.1f}"


def quality_lines(evidence: Evidence | None) -> list[str]:
    """What is known, of which model and from whom; never a bare figure."""
    if evidence is None:
        return ["the reference: nothing is quantized"]
    if evidence.match is Match.NONE:
        lines = ["no measurement for this model"]
        lines += _elsewhere(evidence.elsewhere)
    else:
        label = "this model" if evidence.match is Match.THIS_MODEL else "nearest measured model"
        lines = [f"{label}: {figure_line(evidence.measurements[0])}"]
        if not evidence.measurements[0].is_telling:
            lines += _elsewhere([it for it in evidence.elsewhere if it.is_telling])
    if evidence.conflict:
        lines.append(f"sources differ: {evidence.conflict}")
    return lines


def _elsewhere(figures: Sequence[Measurement]) -> list[str]:
    """One figure of another model for scale: of one that people use, where there is one."""
    ordered = sorted(figures, key=lambda it: it.tier is Tier.PROJECT)
    return [f"elsewhere: {figure_line(it)}" for it in ordered[:1]]


def figure_line(figure: Measurement) -> str:
    """One figure with all that belongs to it."""
    value = figure.text if figure.value is None else f"{figure.value:g} {figure.unit}"
    if figure.is_score:
        value += f" (unquantized: {figure.baseline})"
    words = f"{figure.metric.replace('_', ' ')} {value}, {figure.type_k}/{figure.type_v} on {figure.model}"
    against = f"; contradicted: {figure.contradicted}" if figure.contradicted else ""
    tiny = "; a tiny model: good for the order of types, not for the amount" if figure.tier is Tier.PROJECT else ""
    return f"{words}, rotation {figure.rotation} ({figure.source}, {figure.year}, {figure.tier.value}){tiny}{against}"


def recommendations_json(found: Recommendations) -> str:
    """The same for programs; null is unknown."""
    requirements = found.requirements
    document: RecommendJson = {
        "schema": SCHEMA,
        "engine": found.engine,
        "model": found.model,
        "wish": {
            "context_tokens": requirements.context_tokens,
            "users": requirements.users,
            "prefer": requirements.prefer,
        },
        "recommendations": [_as_json(item) for item in found.items],
        "left_out": list(found.left_out),
        "notes": list(found.notes),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _as_json(item: Recommendation) -> RecommendationJson:
    return {
        "cache": item.cache,
        "fit": item.fit.value,
        "sequence_tokens": item.sequence_tokens,
        "sequences": item.sequences,
        "total_bytes": item.total_bytes,
        "devices": [_room_json(room) for room in item.rooms],
        "quality": None if item.evidence is None else _evidence_json(item.evidence),
        "speed": {"verdict": item.speed.speed.value, "note": item.speed.note or None},
        "why": item.why,
        "placement": item.placement or None,
        "decode": [_decode_json(it) for it in item.decode],
        "decode_note": item.decode_note or None,
        "changes": dict(item.changes),
        "command": item.command,
    }


def _room_json(room: DeviceFit) -> RoomJson:
    known = room.needed
    return {
        "name": room.name,
        "needed_bytes": {"value": room.least_bytes, "low": known.least_bytes, "high": known.most_bytes or 0},
        "is_whole": room.is_whole,
        "room_bytes": room.room_bytes,
    }


def _decode_json(found: DecodeSpeed) -> DecodeJson:
    return {
        "at_tokens": found.at_tokens,
        "tokens_per_second": {
            "value": round(found.tokens_per_second, 2),
            "low": round(found.low, 2),
            "high": round(found.high, 2),
        },
        "reads": [
            {
                "name": it.name,
                "read_bytes": it.read_bytes,
                "bytes_per_second": {
                    "value": it.bytes_per_second,
                    "low": it.low_bytes_per_second,
                    "high": it.high_bytes_per_second,
                },
                "source": it.source,
            }
            for it in found.reads
        ],
        "basis": found.basis,
    }


def _evidence_json(evidence: Evidence) -> EvidenceJson:
    return {
        "match": evidence.match.value,
        "model": evidence.model or None,
        "measurements": [_figure_json(it) for it in evidence.measurements],
        "conflict": evidence.conflict or None,
        "claims": [_figure_json(it) for it in evidence.claims],
    }


def _figure_json(figure: Measurement) -> FigureJson:
    return {
        "model": figure.model,
        "cache_types": [figure.type_k, figure.type_v],
        "rotation": figure.rotation,
        "metric": figure.metric,
        "value": figure.value,
        "text": figure.text or None,
        "unit": figure.unit,
        "source": figure.source,
        "url": figure.url or None,
        "year": figure.year,
        "tier": figure.tier.value,
        "contradicted": figure.contradicted or None,
    }
