"""The help: the keys of a screen, and the meaning of every glyph, state and basis."""

from collections.abc import Mapping

from kvtop.views.tui.keys import HELP, KEYS, SCREEN_NAMES
from kvtop.views.tui.lines import Line, Piece, fold, left, rule
from kvtop.views.tui.segments import LOOKS
from kvtop.views.tui.server_lines import STATE_LOOK


def help_lines(screen: str, shown: Mapping[str, str], version: str, width: int) -> list[Line]:
    """Keys of the screen that the person came from, then every glyph."""
    lines = [rule(f"Keys on this screen: {SCREEN_NAMES[screen]}", width)]
    for key in KEYS:
        if key.on(screen) or key.on(HELP):
            lines.append((Piece(f"  {shown[key.id]:<9}", "key"), Piece(left(key.meaning, width - 11).rstrip())))
    lines += [(), rule("Glyphs in the bars", width)]
    for look in LOOKS:
        text = left(f"{look.word:<14}{look.meaning}", width - 7).rstrip()
        lines.append((Piece(f"  {look.glyph * 3}  ", look.role), Piece(text)))
    lines += [(), rule("States", width)]
    lines += fold([(Piece(mark, role), Piece(f" {state.value}")) for state, (mark, role) in STATE_LOOK.items()], width)
    lines += [(), rule("Numbers", width)]
    for word, meaning in (
        ("measured", "the driver or the kernel counted it"),
        ("reported", "the engine said so"),
        ("computed", "exact, from the model file, the launch options and the engine's rule"),
        ("estimated", "a model, with its range"),
        ("residual", "what is left of a measured total"),
        ("?", "unknown; never shown as 0"),
    ):
        lines.append((Piece(f"  {word:<11}", "key"), Piece(left(meaning, width - 13).rstrip())))
    return [*lines, (), (Piece(f"kvtop {version}".strip(), "faint"),)]
