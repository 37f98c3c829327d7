"""The Recording screen as lines: where the recording is, and the places worth jumping to."""

from kvtop.views.tui.state.player import SupportsReplay
from kvtop.views.tui.widgets.empty_lines import command_lines
from kvtop.views.tui.widgets.lines import Line, Piece, clip, left, rule, wrap

_MARK = "◆"
_NEXT = (
    ("From the dashboard", "R records, R again ends it"),
    ("Without a dashboard", "kvtop record FILE"),
    ("To play it", "kvtop replay FILE"),
)


def clock_text(seconds: float) -> str:
    """Hours, minutes and seconds into a recording: 0:07, 12:34, 1:02:03."""
    minutes, second = divmod(int(max(seconds, 0)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def recording_lines(player: SupportsReplay | None, width: int, looking_at_seconds: float | None = None) -> list[Line]:
    """The seek bar, the state and the marks; `looking_at_seconds` is where a search for the next finding is."""
    if player is None:
        told = wrap("No recording is playing: this is the live machine.", width)
        return [*((Piece(text, "strong"),) for text in told), (), *command_lines(_NEXT, width)]
    at, whole = player.position_seconds, player.duration_seconds
    state = ("▸ playing" if player.is_playing else "│ held") + f" at {player.speed:g}x"
    if looking_at_seconds is not None:
        state = f"looking at {clock_text(looking_at_seconds)}; any move ends it"
    marks = player.marks()
    lines: list[Line] = [
        (Piece(clip(player.name, width), "strong"),),
        seek_line(player, width),
        (Piece(f"{clock_text(at)} of {clock_text(whole)}  ", "strong"), Piece(state, "key")),
        *((Piece(text, "warning"),) for text in (wrap(f"▲ {player.problem}", width) if player.problem else ())),
        (),
        rule(f"Findings met so far ({len(marks)}); n looks for the next", width),
    ]
    passed = max((mark.at_seconds for mark in marks if mark.at_seconds <= at), default=None)
    for mark in marks:
        here = "▸ " if mark.at_seconds == passed else "  "
        action = f"screen.seek({mark.at_seconds!r})"
        text = left(f"{clock_text(mark.at_seconds):>8}  {mark.words}", width - 2).rstrip()
        lines.append((Piece(here, "key", action), Piece(text, "", action)))
    return lines if marks else [*lines, (Piece("None yet.", "faint"),)]


def seek_line(player: SupportsReplay, width: int) -> Line:
    """The whole recording in a line: a click anywhere goes there. Marks stand in it."""
    whole = player.duration_seconds or 1.0
    here = min(int(player.position_seconds / whole * (width - 1)), width - 1)
    marked = {min(int(mark.at_seconds / whole * (width - 1)), width - 1) for mark in player.marks()}
    pieces = []
    for column in range(width):
        glyph, role = ("█", "key") if column == here else ("─", "kv-used" if column < here else "faint")
        if column in marked and column != here:
            glyph, role = _MARK, "warning"
        pieces.append(Piece(glyph, role, f"screen.seek({column / max(width - 1, 1) * whole!r})"))
    return tuple(pieces)
