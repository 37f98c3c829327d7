"""The ledger: every byte of a server on a device, each figure with its basis and who says so."""

from dataclasses import replace

from kvtop.domain.figure import Basis, Figure
from kvtop.domain.frame import Frame, ServerView, Split
from kvtop.domain.memory import Segment
from kvtop.text import bytes_text, tokens_text
from kvtop.views.bar_parts import split_parts
from kvtop.views.segment_table import KV_USED, SEGMENT_TABLE, TOTAL, label_of
from kvtop.views.tui.widgets.lines import Line, Piece, right, rule, wrap
from kvtop.views.tui.widgets.stacked_bar import bar

_ONE_LINE = 96
"""From this width on a figure and who says so stand in one line."""
_NAME = 16
_HEAD = 34 + _NAME
"""Columns of a name, and of all that stands before who says so."""


def ledgers(view: ServerView, frame: Frame, width: int) -> list[Line]:
    """One ledger a device, and where two sources disagree."""
    lines: list[Line] = []
    for section in device_ledgers(view, frame, width):
        lines += [(), *section] if lines else section
    for odd in view.disagreements:
        number = tokens_text if odd.segment == "kv_cache_tokens" else bytes_text
        said = f"▲ {label_of(odd.segment)} on {odd.device_id or 'this server'}: computed {number(odd.computed)}, "
        said += f"but {odd.source} says {number(odd.reported)} (rounding explains {number(odd.tolerance)})"
        lines += [(Piece(text, "warning"),) for text in wrap(said, width)]
    return lines


def device_ledgers(view: ServerView, frame: Frame, width: int, *, brief: bool = False) -> list[list[Line]]:
    """A section a device, ranks that hold the same share one; where no device is known, one that says why.

    `brief`: each figure in one line, so without who says so where that would take a second one.
    """
    groups: list[tuple[list[str], Split]] = []
    for split in view.splits:
        same = next((ids for ids, first in groups if replace(split, device_id=first.device_id) == first), None)
        if same is None:
            groups.append(([split.device_id], split))
        else:
            same.append(split.device_id)
    brief = brief and width < _ONE_LINE
    return [_ledger(ids, split, frame, width, brief=brief) for ids, split in groups] or [_no_split(view, width)]


def _each_of(ids: list[str]) -> str:
    """ "gpu0", "each of gpu0 and gpu2", "each of gpu0 to gpu7": a run of numbers is told by its ends."""
    if len(ids) == 1:
        return ids[0]
    stem = ids[0].rstrip("0123456789")
    first = ids[0].removeprefix(stem)
    if len(ids) > 2 and first and ids == [f"{stem}{int(first) + place}" for place in range(len(ids))]:
        return f"each of {ids[0]} to {ids[-1]}"
    return f"each of {', '.join(ids[:-1])} and {ids[-1]}"


def basis_text(figure: Figure) -> str:
    """The basis as a word, with the range where there is one: "estimated ±24.0 MiB"."""
    if figure.basis is Basis.ESTIMATED and figure.low_bytes is not None and figure.high_bytes is not None:
        spread = figure.high_bytes - figure.low_bytes
        return f"estimated ±{bytes_text((spread + 1) // 2)}" if spread else "estimated"
    if figure.basis is Basis.UNKNOWN and figure.high_bytes is not None:
        return f"unknown, at most {bytes_text(figure.high_bytes)}"
    return figure.basis.value


def _no_split(view: ServerView, width: int) -> list[Line]:
    why = view.plan_note or "No device lists this server's processes."
    return [rule("Memory", width), *((Piece(text),) for text in wrap(why, width))]


def _ledger(ids: list[str], split: Split, frame: Frame, width: int, *, brief: bool) -> list[Line]:
    device = next((row.device for row in frame.devices if row.device.id == split.device_id), None)
    title = f"Memory on {_each_of(ids)}" + (f" · {device.name}" if device is not None else "")
    parts = split_parts((split,))
    lines = [rule(title, width), bar(parts, width)]
    figures = [figure.value_bytes for _, figure in split.memory.parts]
    known = [size for size in figures if size is not None]
    total = sum(known)
    told = ""
    for segment, figure in split.memory.parts:
        look = SEGMENT_TABLE[segment].look
        if figure.value_bytes == 0:
            continue
        row = replace(figure, source="") if figure.source == told else figure
        told = figure.source or told
        lines += _row(look.glyph, look.role, SEGMENT_TABLE[segment].label, row, width, brief=brief)
        if segment is Segment.KV_CACHE:
            used = f"{KV_USED.glyph} {bytes_text(split.kv_used_bytes)} of it holds tokens now"
            lines.append((Piece("    "), Piece(used[0], KV_USED.role), Piece(used[1:], "faint")))
    empty = [SEGMENT_TABLE[segment].label for segment, figure in split.memory.parts if figure.value_bytes == 0]
    if empty:
        lines += [(Piece(f"  {text}", "faint"),) for text in wrap(f"0 B: {', '.join(empty)}", width - 2)]
    lines.append((Piece("  " + "─" * (10 + _NAME), "faint"),))
    lines += _row("=", "strong", TOTAL, split.driver, width, brief=brief)
    if not known:
        lines.append((Piece("  no part of it is known", "faint"),))
    elif split.driver.value_bytes is None:
        lines.append((Piece(f"  {'known parts':<{_NAME}}{bytes_text(total):>9}", "faint"),))
    elif len(known) < len(figures) and total != split.driver.value_bytes:
        lines.append((Piece(f"  {'parts known':<{_NAME}}{bytes_text(total):>9}  the rest is unknown", "faint"),))
    elif total != split.driver.value_bytes:
        lines.append((Piece(f"  the parts add up to {bytes_text(total)}", "warning"),))
    return lines


def _row(glyph: str, role: str, word: str, figure: Figure, width: int, *, brief: bool) -> list[Line]:
    basis = basis_text(figure)
    head = (
        Piece(f"{glyph} ", role),
        Piece(f"{word:<{_NAME}}", "strong" if glyph == "=" else ""),
        Piece(right(bytes_text(figure.value_bytes), 9), "strong"),
        Piece(f"  {basis:<20}", "warning" if figure.basis is Basis.UNKNOWN else ""),
    )
    if not figure.source or brief:
        return [head]
    if width < _ONE_LINE:
        return [head, *((Piece(f"    {text}", "faint"),) for text in wrap(figure.source, width - 4))]
    first, *rest = wrap(figure.source, width - _HEAD)
    return [(*head, Piece(f" {first}", "faint")), *((Piece(" " * _HEAD + text, "faint"),) for text in rest)]
