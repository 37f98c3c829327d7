"""Devices as lines: who they are, a stacked bar, and the numbers under it."""

from dataclasses import dataclass, replace

from kvtop.domain.device import DeviceState
from kvtop.domain.frame import DeviceView, Frame
from kvtop.text import bytes_text, duration_text, ratio_text
from kvtop.views.bar_parts import Part, device_parts
from kvtop.views.segment_table import LOOKS
from kvtop.views.tui.widgets.lines import Line, Piece, clip, fold, left, right, width_of
from kvtop.views.tui.widgets.stacked_bar import bar

_WITH_PERCENT = 44
"""Columns from which a line has room for how full a device is."""


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """What a row of the devices box depends on, and nothing else. `age` is "" while the data is fresh."""

    id: str
    name: str
    used_bytes: int | None
    total_bytes: int | None
    parts: tuple[Part, ...]
    utilization_ratio: float | None
    temperature_celsius: int | None
    power_watts: int | None
    state: DeviceState
    note: str
    age: str


def device_rows(frame: Frame, interval_seconds: float) -> tuple[DeviceRow, ...]:
    """The small value that the devices box is drawn from. Fractions nobody sees are rounded off: they would repaint."""
    return tuple(_row(frame.with_slices(view), interval_seconds) for view in frame.devices)


def _row(view: DeviceView, interval_seconds: float) -> DeviceRow:
    device = view.device
    name = device.driver.short_name(device.name)
    if " MIG " in name:
        # Of a slice its profile is what tells it from the others.
        name = "MIG " + name.split(" MIG ", 1)[1]
    old = device.state is DeviceState.STALE or view.age_seconds > 2 * interval_seconds
    return DeviceRow(
        device.id,
        name,
        device.memory.used_bytes,
        device.memory.total_bytes,
        device_parts(view),
        None if device.utilization_ratio is None else round(device.utilization_ratio, 2),
        None if device.temperature_celsius is None else round(device.temperature_celsius),
        None if device.power_watts is None else round(device.power_watts),
        device.state,
        device.note,
        f"{duration_text(view.age_seconds)} old" if old else "",
    )


def device_lines(rows: tuple[DeviceRow, ...], width: int, height: int) -> list[Line]:
    """A name, a bar and its numbers for each device where `height` lines allow; else one line each, or each kind."""
    tall: list[Line] = []
    for row in rows:
        tall += [(), *tall_lines(row, width)] if tall else tall_lines(row, width)
    if len(tall) <= height:
        return tall
    shown = rows if len(rows) <= height else _grouped(rows)
    id_width = max(len(row.id) for row in shown)
    return [_flat(row, width, id_width) for row in shown]


def _grouped(rows: tuple[DeviceRow, ...]) -> tuple[DeviceRow, ...]:
    """Equal cards that stand beside each other as one row, with the sum of their bytes; others as they are."""
    groups: list[list[DeviceRow]] = []
    for row in rows:
        last = groups[-1][-1] if groups else None
        if last is not None and _kind(last) == _kind(row) and not (last.age or row.age):
            groups[-1].append(row)
        else:
            groups.append([row])
    return tuple(group[0] if len(group) == 1 else _sum_of(group) for group in groups)


def _kind(row: DeviceRow) -> tuple[object, ...]:
    return row.name, row.total_bytes, row.state, row.note


def _sum_of(group: list[DeviceRow]) -> DeviceRow:
    used = [row.used_bytes for row in group]
    known = [size for size in used if size is not None]
    parts = tuple(
        Part(same[0].look, sum(part.size_bytes for part in same), any(part.is_partial for part in same))
        for same in zip(*(row.parts for row in group), strict=True)
    )
    return replace(
        group[0],
        id=f"{group[0].id}-{group[-1].id.lstrip('abcdefghijklmnopqrstuvwxyz')}",
        name=f"{len(group)}x {group[0].name}",
        used_bytes=sum(known) if len(known) == len(used) else None,
        total_bytes=None if group[0].total_bytes is None else group[0].total_bytes * len(group),
        parts=parts,
    )


def legend(width: int) -> list[Line]:
    """Glyph, colour and word of every part: always on the screen."""
    words = [(Piece(look.glyph, look.role), Piece(" " + look.label, "faint")) for look in LOOKS]
    wide, narrow = fold(words, width), fold(words, width, gap=1)
    return narrow if len(narrow) < len(wide) else wide


def _amount(row: DeviceRow) -> str:
    return f"{bytes_text(row.used_bytes):>8} / {bytes_text(row.total_bytes):<8}"


def _state(row: DeviceRow) -> tuple[str, str]:
    if row.state in (DeviceState.LOST, DeviceState.ERROR):
        return f"■ {row.state.value}", "error"
    return (f"▲ {row.age}", "warning") if row.age else ("", "")


def _dimmed(row: DeviceRow, pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    return tuple(Piece(piece.text, "stale") for piece in pieces) if row.age or row.state is DeviceState.LOST else pieces


def _flat(row: DeviceRow, width: int, id_width: int) -> Line:
    name_width = min(16, max(0, width - 58))
    name = f" {left(row.name, name_width)}" if name_width >= 8 else ""
    word, role = _state(row)
    tail = f" {_amount(row)}"
    percent = right(ratio_text(row.used_bytes / row.total_bytes), 5) if row.used_bytes and row.total_bytes else "    ?"
    tail += percent if width >= _WITH_PERCENT else ""
    if word:
        tail += f" {word}"
    bar_width = max(width - id_width - 1 - len(name) - len(tail), 8)
    body = (Piece(left(row.id, id_width), "strong"), Piece(name + " ", "faint"))
    drawn = _dimmed(row, (*body, *bar(row.parts, bar_width, row.total_bytes)))
    amount = tail.removesuffix(word)
    return (*drawn, Piece(amount, "stale" if row.age else ""), *((Piece(word, role),) if word else ()))


def tall_lines(row: DeviceRow, width: int) -> list[Line]:
    """A device in three lines or more: its name and facts, its bar, its numbers."""
    word, role = _state(row)
    facts = [
        f"{ratio_text(row.utilization_ratio)} busy" if row.utilization_ratio is not None else "",
        f"{row.temperature_celsius}°C" if row.temperature_celsius is not None else "",
        f"{row.power_watts} W" if row.power_watts is not None else "",
    ]
    amount = _amount(row).strip()
    head: list[Piece] = [Piece(row.id, "strong"), Piece(f"  {row.name}")]
    for fact in filter(None, facts):
        if width_of(head) + len(fact) + len(amount) + len(word) + 6 <= width:
            head.append(Piece(f"  {fact}", "faint"))
    if word:
        head.append(Piece(f"  {word}", role))
    if row.note:
        room = width - width_of(head) - len(amount) - 4
        head += [Piece(f"  {clip(row.note, room)}", "faint")] if room > 8 else []
    gap = width - width_of(head) - len(amount)
    if gap < 1:
        head[1] = Piece("  " + clip(row.name, max(len(row.name) + gap - 1, 0)))
        gap = max(width - width_of(head) - len(amount), 0)
    head += [Piece(" " * gap), Piece(amount, "strong")]
    return [tuple(head), _dimmed(row, bar(row.parts, width, row.total_bytes)), *_numbers(row, width)]


def _numbers(row: DeviceRow, width: int) -> list[Line]:
    """Glyph, number and word of every part that is there; without the words where they do not fit in a line."""
    there = [part for part in row.parts if part.size_bytes or part.is_partial]
    if all(part.is_partial and not part.size_bytes for part in there):
        return [(Piece("nothing is known about this device now", "faint"),)]
    lines = fold([_number(part, with_word=True) for part in there], width)
    return lines if len(lines) == 1 else fold([_number(part, with_word=False) for part in there], width)


def _number(part: Part, *, with_word: bool) -> Line:
    amount = bytes_text(part.size_bytes) if part.size_bytes else ""
    if part.is_partial:
        amount = f"{amount}+?" if amount else "?"
    word = (Piece(f" {part.look.label}", "faint"),) if with_word else ()
    return (Piece(part.look.glyph, part.look.role), Piece(f" {amount}"), *word)
