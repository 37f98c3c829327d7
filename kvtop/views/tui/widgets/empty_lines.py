"""What to say where there is nothing to show: what was looked for, what is missing, and the next command."""

from kvtop.domain.frame import Frame
from kvtop.views.tui.widgets.lines import Line, Piece, left, wrap


def looking_lines(frame: Frame | None, width: int) -> list[Line]:
    """Before the first answers: every probe that is out."""
    pending = frame.pending if frame is not None else ()
    lines: list[Line] = [(Piece("Looking for devices and servers …", "strong"),)]
    return lines + [(Piece(left(f"  waiting for {name}", width).rstrip(), "faint"),) for name in pending]


def no_server_lines(frame: Frame, width: int) -> list[Line]:
    """No server: where it was looked, what to do, and what could not be read."""
    lines: list[Line] = [(Piece("No server found.", "strong"),)]
    told = "Looked at the processes of this machine and the ports they listen on for model servers; none is running"
    told += ", or kvtop may not see it." if frame.failures else "."
    lines += [(Piece(text),) for text in wrap(told, width)]
    next_steps = (
        ("One that runs elsewhere", "kvtop --url http://HOST:PORT"),
        ("What one would take", "kvtop plan -- llama-server -m FILE"),
        ("A tour without one", "kvtop --demo"),
    )
    # What to do stands first: on a small screen the reasons do not fit, and the Sources screen has them too.
    lines += [(), *command_lines(next_steps, width)]
    for failure in frame.failures:
        lines += [(), *((Piece(text),) for text in wrap(f"{failure.source}: {failure.message}", width))]
        if failure.remedy:
            lines += [(Piece(f"  {text}", "faint"),) for text in wrap(f"→ {failure.remedy}", width - 2)]
    return lines


def command_lines(steps: tuple[tuple[str, str], ...], width: int) -> list[Line]:
    """(What it is for, the command), side by side or one below the other."""
    lines: list[Line] = []
    for what, command in steps:
        if len(command) + 26 <= width:
            lines.append((Piece(f"{what:<26}", "faint"), Piece(command, "key")))
        else:
            lines += [(Piece(what, "faint"),), (Piece(f"  {command}", "key"),)]
    return lines


def unasked_lines(why: str, frame: Frame | None, width: int) -> list[Line]:
    """A screen about one server where none can be asked: what is missing, or `why` it cannot be told."""
    if frame is None or (frame.pending and not frame.servers):
        return looking_lines(frame, width)
    if not frame.servers:
        return no_server_lines(frame, width)
    return [(Piece(part, "strong"),) for part in wrap(why, width)]


def no_match_lines(words: str, width: int) -> list[Line]:
    """A filter that leaves nothing."""
    return [
        (Piece(left(f"No server has all of these words: {words}", width).rstrip(), "strong"),),
        (Piece("Esc shows them all again.", "faint"),),
    ]
