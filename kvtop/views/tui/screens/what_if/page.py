"""The What-if screen as lines: the knobs, now beside then on every device, quality, speed and the command."""

import re
from dataclasses import replace

from kvtop.domain.answers.cache_speed import Speed
from kvtop.domain.answers.recommendation import Recommendations
from kvtop.domain.answers.room import Fit
from kvtop.domain.answers.what_if import DeviceChange, KnobState, WhatIfAnswer, WhatIfComparison
from kvtop.domain.figure import Figure
from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan, Refusal
from kvtop.text import UNKNOWN_TEXT, bytes_text, tokens_text
from kvtop.views.bar_parts import Part
from kvtop.views.segment_table import FREE, RUNTIME, SEGMENT_TABLE, Look
from kvtop.views.text.recommendation_text import quality_lines, recommendations_text, speed_line
from kvtop.views.tui.keys import KEYS
from kvtop.views.tui.widgets.lines import Line, Piece, clip, fold, left, right, rule, wrap
from kvtop.views.tui.widgets.stacked_bar import bar

KNOB_KEYS = {
    "type_k": ("type-k", "type-k-back"),
    "type_v": ("type-v", "type-v-back"),
    "context": ("halve", "double"),
    "slots": ("slots", "slots-back"),
    "unified": ("unified",),
    "batch": ("batch-back", "batch"),
    "flash": ("flash",),
}
_TARGETS = {key.id: key.target for key in KEYS}
"""Dial -> ids in keys.py of the keys that turn it."""
RANGE = Look("warning", "~", "range", "#e0af68", "between the likely and the high end of the estimate")
_BITS = {"f32": 32.0, "f16": 16, "bf16": 16, "q8_0": 8.5, "q5_1": 6, "q5_0": 5.5, "q4_1": 5, "q4_0": 4.5, "iq4_nl": 4.5}
"""What one value takes, by llama.cpp's cache types."""
_VERDICTS = {
    Fit.FITS: ("strong", "fits"),
    Fit.TIGHT: ("warning", "fits unless the estimate is at its high end"),
    Fit.TOO_LARGE: ("error", "does not fit"),
    Fit.UNKNOWN: ("faint", "whether it fits is unknown"),
}
_NUMBER = re.compile(r"\d+")
_SPEED_ROLES = {Speed.FINE: "", Speed.UNKNOWN: "faint", Speed.ON_CPU: "error"}


def what_if_lines(answer: WhatIfAnswer, shown_keys: dict[str, str], width: int) -> list[Line]:
    """The whole page but the recommendations. `shown_keys`: key id -> how it is printed."""
    compared = answer.comparison
    lines = [*_dial_lines(answer.knobs, shown_keys, width), (), _verdict(compared, width)]
    if isinstance(compared.then, Refusal):
        lines += [_text(line, "error") for line in wrap(f"{compared.then.engine}: {compared.note}", width)]
    elif compared.then is None:
        lines += [_text(line, "warning") for line in wrap(f"no exact rule: {compared.note}", width)]
    if compared.adjusted:
        lines += [_text(line, "warning") for line in wrap(compared.adjusted, width)]
    for name, device in _alike(compared.devices):
        lines += [(), *_device_lines(name, device, width)]
    if isinstance(compared.then, MemoryPlan):
        lines += _sequence_lines(answer, width)
    lines += _quality(answer, width)
    lines += _copied(answer.comparison, width)
    if answer.is_changed:
        lines += _command(answer, shown_keys, width)
    return lines


def _copied(compared: WhatIfComparison, width: int) -> list[Line]:
    """What a quantized cache costs in compute, which its own row does not say."""
    copied = 0 if not isinstance(compared.then, MemoryPlan) else compared.then.copied_cache_bytes
    if not copied:
        return []
    words = f"of compute, {bytes_text(copied)} is a copy of one layer's cache as f16, which attention reads"
    return [_text(part, "faint") for part in wrap(words, width)]


def recommendation_lines(found: Recommendations | str, width: int) -> list[Line]:
    """What `kvtop recommend` would say."""
    lines: list[Line] = [(), rule("Recommended", width)]
    text = found if isinstance(found, str) else recommendations_text(found)
    for row in text.splitlines():
        indent = len(row) - len(row.lstrip())
        for number, part in enumerate(wrap(row, max(width - indent, 8))):
            lines.append(_text(" " * indent + part, "strong" if row[:1].isdigit() and not number else ""))
    return lines


def _text(text: str, role: str = "") -> Line:
    return (Piece(text, role),)


def _dial_lines(knobs: tuple[KnobState, ...], shown_keys: dict[str, str], width: int) -> list[Line]:
    words: list[Line] = []
    for knob in knobs:
        keys = [
            Piece(f"{shown_keys.get(key, '')} ", "key", _TARGETS.get(key, "")) for key in KNOB_KEYS.get(knob.knob, ())
        ]
        is_turned = knob.then not in {knob.now, UNKNOWN_TEXT}
        value = f"{knob.now} → {knob.then}" if is_turned else knob.now
        role = "strong" if is_turned else ""
        words.append((*keys, Piece(f"{knob.name} ", "faint"), Piece(value, role)))
    return fold(words, width, gap=3)


def _verdict(compared: WhatIfComparison, width: int) -> Line:
    if isinstance(compared.then, Refusal):
        return _text(clip("The engine would fail to start:", width), "error")
    if compared.then is None:
        return _text("Nothing is known about it.", "warning")
    role, words = _VERDICTS[compared.fit]
    return _text(clip(words[0].upper() + words[1:], width), role)


def _alike(devices: tuple[DeviceChange, ...]) -> list[tuple[str, DeviceChange]]:
    """Neighbours that differ in nothing but their names, as one: ranks of one server mostly do not."""
    found: list[tuple[str, str, DeviceChange]] = []
    for device in devices:
        if found and replace(found[-1][2], name="") == replace(device, name=""):
            found[-1] = found[-1][0], device.name, found[-1][2]
        else:
            found.append((device.name, device.name, device))
    return [(first if first == last else f"each of {first} to {last}", device) for first, last, device in found]


def _device_lines(name: str, device: DeviceChange, width: int) -> list[Line]:
    """Both bars on one scale, then a row a segment that is there."""
    room = "" if device.room_bytes is None else f" · room for {bytes_text(device.room_bytes)}"
    now_parts, then_parts = _parts(device, now=True), _parts(device, now=False)
    spread = _spread(device.needed)
    whole = max(device.room_bytes or 0, _sum(now_parts), _sum(then_parts) + spread)
    span = max(width - 22, 8)
    lines = [rule(f"{name}{room}", width)]
    for word, parts, tail in (("now", now_parts, 0), ("then", then_parts, spread)):
        drawn = (*parts, Part(RANGE, tail)) if tail else parts
        free = (device.room_bytes or 0) - _sum(drawn)
        if free > 0:
            drawn = (*drawn, Part(FREE, free))
        told = right(bytes_text(_total(device, word)), 10)
        lines.append((Piece(left(word, 5), "faint"), *bar(drawn, span, whole), Piece(f" {told}", "strong")))
    lines += [
        _row(segment, device.now.bytes_of(segment), figure.value_bytes, width)
        for segment, figure in device.then.parts
        if device.now.bytes_of(segment) != 0 or figure.value_bytes != 0
    ]
    if device.beyond_bytes:
        amount = bytes_text(device.beyond_bytes)
        lines.append(_columns(RUNTIME, "measured rest", amount, amount, "stays", "faint", width))
    lines.append(_fit_line(device, width))
    return lines


def _parts(device: DeviceChange, *, now: bool) -> tuple[Part, ...]:
    parts = [
        Part(SEGMENT_TABLE[segment].look, max(figure.value_bytes or 0, 0))
        for segment, figure in (device.now if now else device.then).parts
    ]
    return (*parts, Part(RUNTIME, device.beyond_bytes))


def _sum(parts: tuple[Part, ...]) -> int:
    return sum(part.size_bytes for part in parts)


def _total(device: DeviceChange, word: str) -> int | None:
    total_bytes = (device.now if word == "now" else device.then).total.value_bytes
    return None if total_bytes is None else total_bytes + device.beyond_bytes


def _spread(needed: Figure) -> int:
    return 0 if needed.value_bytes is None else (needed.most_bytes or 0) - needed.value_bytes


def _row(segment: Segment, now_bytes: int | None, then_bytes: int | None, width: int) -> Line:
    delta = None if now_bytes is None or then_bytes is None else then_bytes - now_bytes
    sign = "+" if delta is not None and delta > 0 else ""
    text = UNKNOWN_TEXT if delta is None else "=" if delta == 0 else f"{sign}{bytes_text(delta)}"
    role = "" if not delta else "strong" if delta < 0 else "warning"
    amounts = bytes_text(now_bytes), bytes_text(then_bytes)
    return _columns(SEGMENT_TABLE[segment].look, SEGMENT_TABLE[segment].label, *amounts, text, role, width)


def _columns(look: Look, word: str, now: str, then: str, delta: str, role: str, width: int) -> Line:
    name = max(min(width - 36, 20), 10)
    return (
        Piece(f"{look.glyph} ", look.role),
        Piece(left(word, name), "faint"),
        Piece(right(now, 10)),
        Piece(right(then, 11)),
        Piece(right(delta, 12), role),
    )


def _fit_line(device: DeviceChange, width: int) -> Line:
    needed, room = device.needed, device.room_bytes
    if needed.value_bytes is None or room is None:
        said = "a part of it is unknown" if needed.value_bytes is None else "its room is unknown"
        return _text(f"  {said}", "faint")
    role, words = _VERDICTS[device.fit]
    over = needed.value_bytes - room
    rest = f", {bytes_text(over)} too much" if over > 0 else f", {bytes_text(-over)} left"
    low, high = bytes_text(needed.least_bytes), bytes_text(needed.most_bytes)
    span = f" ({low} to {high})" if low != high else ""
    return _text(clip(f"  {words}{rest}{span}", width), role)


def _sequence_lines(answer: WhatIfAnswer, width: int) -> list[Line]:
    compared = answer.comparison
    now, then = _sequences(compared.now), _sequences(compared.then)
    text = then if now == then else f"{now} → {then}"
    lines: list[Line] = [
        (),
        (Piece("room for ", "faint"), Piece(clip(text, width - 9), "" if now == then else "strong")),
    ]
    brought = _brought(compared)
    for told in (*_kept_lines(answer), *brought):
        lines += [_text(part, "warning" if told in brought else "faint") for part in wrap(told, width)]
    return lines


def _brought(compared: WhatIfComparison) -> list[str]:
    """Warnings that the change introduces; one that differs by a number alone is not new."""
    if not isinstance(compared.then, MemoryPlan):
        return []
    before = {_NUMBER.sub("", it) for it in (compared.now.warnings if compared.now is not None else ())}
    return [it for it in compared.then.warnings if _NUMBER.sub("", it) not in before]


def _kept_lines(answer: WhatIfAnswer) -> list[str]:
    """mlx_lm.server keeps the caches of finished sequences: as much again for each, where they are as long."""
    plan = answer.comparison.then
    kept = answer.kept_sequences
    if not isinstance(plan, MemoryPlan) or kept is None:
        return []
    one = plan.memory.bytes_of(Segment.KV_CACHE)
    most = bytes_text(None if one is None else one * kept)
    return [f"beside it up to {kept} finished ones are kept: up to {most} more where they are as long"]


def _sequences(plan: object) -> str:
    if not isinstance(plan, MemoryPlan):
        return UNKNOWN_TEXT
    context, pool = plan.context, plan.vllm
    if context is not None:
        count = "any of" if context.kv_unified and context.n_seq_max > 1 else "each of"
        slots = "one sequence" if context.n_seq_max == 1 else f"{count} {context.n_seq_max} sequences"
        return f"{slots}, up to {tokens_text(context.n_ctx_seq)}"
    if pool is not None:
        tokens = pool.kv_cache_tokens
        if tokens is None and pool.pool_estimate is not None:
            return f"about {tokens_text(pool.pool_estimate.tokens)} tokens, at {pool.pool_estimate.concurrency:.1f}x"
        ratio = UNKNOWN_TEXT if pool.max_concurrency is None else f"{pool.max_concurrency:.1f}"
        return f"{tokens_text(tokens)} tokens, {ratio} requests of full length"
    return "one sequence"


def _quality(answer: WhatIfAnswer, width: int) -> list[Line]:
    if answer.speed is None:
        return []
    lines: list[Line] = [(), rule("Quality and speed", width)]
    for text in quality_lines(answer.evidence):
        lines += [_text(part) for part in wrap(text, width)]
    if _has_poor_keys(answer):
        told = "keys have fewer bits than values: the other way round lost less wherever both were measured"
        lines += [_text(part, "warning") for part in wrap(told, width)]
    for claim in answer.evidence.claims[:1] if answer.evidence is not None else ():
        value = claim.text if claim.value is None else f"{claim.value:g} {claim.unit}"
        told = f"claimed elsewhere without a log: {value} {claim.metric.replace('_', ' ')}; {claim.contradicted}"
        lines += [_text(part, "faint") for part in wrap(told, width)]
    role = _SPEED_ROLES.get(answer.speed.speed, "warning")
    lines += [_text(part, role) for part in wrap(f"speed: {speed_line(answer.speed)}", width)]
    return lines


def _has_poor_keys(answer: WhatIfAnswer) -> bool:
    plan = answer.comparison.then
    if not isinstance(plan, MemoryPlan) or plan.type_k not in _BITS or plan.type_v not in _BITS:
        return False
    return _BITS[plan.type_k] < min(_BITS[plan.type_v], _BITS["q8_0"])


def _command(answer: WhatIfAnswer, shown_keys: dict[str, str], width: int) -> list[Line]:
    lines: list[Line] = [(), rule(f"{answer.where} ({shown_keys.get('copy', 'y')} copies)", width)]
    for row in answer.command.splitlines():
        lines += [_text(part, "key") for part in wrap(row, width)]
    for note in answer.command_notes:
        lines += [_text(part, "warning") for part in wrap(note, width)]
    return lines
