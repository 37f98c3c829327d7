"""The Sources screen as lines: what failed and the one thing to do, what is awaited, what answered."""

from kvtop.domain.device import Device, DeviceState
from kvtop.domain.frame import Frame
from kvtop.domain.sample import Failure
from kvtop.domain.server import ServerState
from kvtop.text import duration_text
from kvtop.views.tui.screens.overview.servers import STATE_LOOK, engine_text
from kvtop.views.tui.widgets.lines import Line, Piece, left, rule, wrap

_DEVICE_REMEDIES = {
    DeviceState.LOST: "reboot, or reset the card; look into the kernel log (dmesg) for the reason",
    DeviceState.ERROR: "look into the kernel log (dmesg) for errors of its driver",
}
_SERVER_REMEDIES = {
    ServerState.UNREACHABLE: "see whether it runs and whether its address is right; it is asked again",
    ServerState.LOCKED: "put its key into KVTOP_API_KEY or into the file that the configuration names",
    ServerState.ERROR: "look at its log; it is asked again with every refresh",
}
_SILENT = frozenset({*_SERVER_REMEDIES, ServerState.UNKNOWN})


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


def unread_of(frame: Frame) -> tuple[Failure, ...]:
    """What failed as a whole, then devices and servers that gave no answer, or none that is worth anything."""
    told = {failure.source for failure in frame.failures}
    devices = [
        Failure(view.device.id, view.device.note or view.device.state.value, _remedy(view.device))
        for view in frame.devices
        if view.device.state in _DEVICE_REMEDIES and view.device.id not in told
    ]
    servers = [
        Failure(reading.id, reading.hint or reading.state.value, _SERVER_REMEDIES[reading.state])
        for reading in (view.reading for view in frame.servers)
        if reading.state in _SERVER_REMEDIES and f"server {reading.id}" not in told
    ]
    return (*frame.failures, *devices, *servers)


def _remedy(device: Device) -> str:
    tool = device.driver.tool
    if device.state is DeviceState.ERROR and tool:
        return f"run {tool}: it asks the same driver"
    return _DEVICE_REMEDIES[device.state]


def _answered(frame: Frame, width: int) -> list[Line]:
    devices = [row for row in frame.devices if row.device.state not in _DEVICE_REMEDIES]
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
        told = f"{reading.url or reading.id}  {engine_text(reading.engine)} {reading.version or ''}".rstrip()
        lines.append((Piece(f"{mark} ", role), Piece(left(f"{told}, {reading.state.value}", width - 2).rstrip())))
    return lines if count else [*lines, (Piece("Nobody.", "faint"),)]
