"""The help: the keys of a screen, and the meaning of every glyph, mark and basis."""

from collections.abc import Iterable, Mapping

from kvtop.views.segment_table import LOOKS
from kvtop.views.tui.keys import KEYS, SCREEN_NAMES
from kvtop.views.tui.screens.findings.page import SEVERITY_LOOK
from kvtop.views.tui.widgets.lines import Line, Piece, beside, fold, rule, wrap
from kvtop.views.tui.widgets.server_table import STATE_LOOK

_TWO_COLUMNS = 118
"""From this width on the glyphs stand beside the keys."""
_SEVERITIES = {"error": "wrong: act now", "warning": "deserves a look", "info": "worth knowing"}
_NUMBERS = (
    ("measured", "the driver or the kernel counts it"),
    ("reported", "the engine reports it"),
    ("computed", "exact, from the model file, the launch options and the engine's rule"),
    ("estimated", "a model, with its range"),
    ("residual", "what is left of a measured total"),
    ("≤", "at most: slots may share cells"),
    ("+?", "and more: a part of it is unknown"),
    ("?", "unknown; never shown as 0"),
)
_COLUMNS = (
    ("verdict", "full in: if what runs goes on or peaks keep rising; tight: 512 MiB or less free; steady: neither"),
    ("ctx", "tokens that the KV cache can hold"),
    ("KV", "how much of it holds tokens now"),
    ("room", "more requests that could begin now: 2x 8k is two of 8k tokens (or of the longest permitted)"),
    ("queue", "requests that wait"),
    ("TTFT", "time to first token, the mean of the last minute"),
    ("memory", "bytes on accelerators; in host memory where the server is on none"),
    ("5 min", "the same, a column for each half minute"),
    ("tok/s", "generated in a second, all requests"),
)


_MOUSE = (
    "A click selects a row, sorts by a column title, changes the value beside a key, presses a key of the footer;"
    " a second click opens. The wheel scrolls."
)


def help_lines(screen: str, shown: Mapping[str, str], version: str, width: int) -> list[Line]:
    """Keys of the screen that the person came from, and every glyph: beside them, or below where it is narrow."""
    tail: list[Line] = [(), (Piece(f"kvtop {version}".strip(), "faint"),)]
    if width < _TWO_COLUMNS:
        return [*_keys(screen, shown, width), (), *_meanings(width), *tail]
    half = (width - 3) // 2
    return [*beside(_keys(screen, shown, half), _meanings(half), half), *tail]


def _keys(screen: str, shown: Mapping[str, str], width: int) -> list[Line]:
    lines = [rule(f"Keys on this screen: {SCREEN_NAMES[screen]}", width)]
    for key in KEYS:
        if key.on(screen):
            lines += _entry((Piece(f"  {shown[key.id]:<9}", "key"),), 11, key.meaning, width)
    return lines


def _meanings(width: int) -> list[Line]:
    lines = [rule("Glyphs in the bars", width)]
    for look in LOOKS:
        head = (Piece(f"  {look.glyph * 3}  ", look.role), Piece(f"{look.label:<16}"))
        lines += _entry(head, 23, look.meaning, width)
    lines += [(), rule("Servers", width)]
    lines += fold([(Piece(mark, role), Piece(f" {state.value}")) for state, (mark, role) in STATE_LOOK.items()], width)
    lines += [(), rule("Findings", width)]
    severities = SEVERITY_LOOK.items()
    lines += fold([(Piece(mark, role), Piece(f" {_SEVERITIES[name]}")) for name, (mark, role) in severities], width)
    for title, entries in (("Numbers", _NUMBERS), ("Columns", _COLUMNS)):
        lines += [(), rule(title, width)]
        for word, meaning in entries:
            lines += _entry((Piece(f"  {word:<11}", "key"),), 13, meaning, width)
    lines += [(), rule("Mouse", width)]
    return [*lines, *((Piece(text),) for text in wrap(_MOUSE, width))]


def _entry(head: Iterable[Piece], indent: int, meaning: str, width: int) -> list[Line]:
    first, *rest = wrap(meaning, max(width - indent, 8))
    return [(*head, Piece(first)), *((Piece(" " * indent + text),) for text in rest)]
