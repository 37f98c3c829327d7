"""The Sources screen as lines: what failed and the one thing to do, what is awaited, what answered."""

from kvtop.domain.device import DeviceState
from kvtop.domain.frame import Frame
from kvtop.domain.server import ServerState
from kvtop.text import duration_text
from kvtop.views.tui.state.unread import DEVICE_REMEDIES, SERVER_REMEDIES, unread_of
from kvtop.views.tui.widgets.lines import Line, Piece, left, rule, wrap
from kvtop.views.tui.widgets.server_table import STATE_LOOK

_SILENT = frozenset({*SERVER_REMEDIES, ServerState.UNKNOWN})


def sources_lines(frame: Frame | None, width: int) -> list[Line]:
    """What could not be read, why and what to do; then what has not answered yet."""
    if frame is None:
        return [(Piece("Nothing has been read yet.", "strong"),)]
    unread = unread_of(frame)
    lines = [rule(f"Could not be read ({len(unread)})", width)]
    for failure in unread:
        lines += [(Piece("■ ", "error"), Piece(left(failure.source, width - 2).rstrip(), "strong"))]
        lines += [(Piece(f"  {text}"),) for text in wrap(failure.message, width - 2)]
        lines += [
            (Piece(f"  {text}", "key"),) for text in (wrap(f"→ {failure.remedy}", width - 2) if failure.remedy else ())
        ]
        lines.append(())
    if not unread:
        lines += [(Piece("Everything that was asked has answered.", "faint"),), ()]
    lines.append(rule(f"Has not answered yet ({len(frame.pending)})", width))
    lines += [(Piece(left(f"○ {name}", width).rstrip()),) for name in frame.pending]
    if not frame.pending:
        lines.append((Piece("Nothing.", "faint"),))
    return [*lines, (), *_answered(frame, width)]


def _answered(frame: Frame, width: int) -> list[Line]:
    devices = [row for row in frame.devices if row.device.state not in DEVICE_REMEDIES]
    servers = [server for server in frame.servers if server.reading.state not in _SILENT]
    count = len(devices) + len(servers)
    lines = [rule(f"Has answered ({count})", width)]
    for row in devices:
        mark, role = ("●", "") if row.device.state is DeviceState.OK else ("▲", "warning")
        age = f", {duration_text(row.age_seconds)} ago" if row.age_seconds >= 1 else ""
        told = f"{row.device.id}  {row.device.name} by {row.device.driver.name}{age}"
        lines.append((Piece(f"{mark} ", role), Piece(left(told, width - 2).rstrip())))
    for server in servers:
        reading = server.reading
        mark, role = STATE_LOOK[reading.state]
        told = f"{reading.url or reading.id}  {server.engine_text} {reading.version or ''}".rstrip()
        lines.append((Piece(f"{mark} ", role), Piece(left(f"{told}, {reading.state.value}", width - 2).rstrip())))
    return lines if count else [*lines, (Piece("Nobody.", "faint"),)]
