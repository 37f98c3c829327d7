"""The Devices screen as lines: heat, power, utilisation, clocks, slices, and every process on each device."""

from kvtop.domain.compute_api import CUDA
from kvtop.domain.device import Device
from kvtop.domain.frame import DeviceView, Frame
from kvtop.text import bytes_text, ratio_text
from kvtop.views.tui.widgets.device_bars import DeviceRow, device_rows, tall_lines
from kvtop.views.tui.widgets.lines import Line, Piece, fold, left, right, rule
from kvtop.views.tui.widgets.model_names import model_text


def device_page_lines(frame: Frame | None, interval_seconds: float, width: int) -> list[Line]:
    """A section a device, slices after their card."""
    if frame is None or not frame.devices:
        return [
            (Piece("No device was found, not even host memory.", "strong"),),
            (Piece("Sources (8) says what was asked and what to do.", "faint"),),
        ]
    names = {view.reading.id: view.reading.model.name or view.reading.model.path for view in frame.servers}
    lines: list[Line] = _summary(frame, width) if len(frame.devices) > 2 else []
    for view, row in zip(frame.devices, device_rows(frame, interval_seconds), strict=True):
        lines += [(), *_section(view, row, names, width)] if lines else _section(view, row, names, width)
    return lines


_COLUMNS = (("device", 0), ("busy", 4), ("heat", 3), ("power", 2), ("clock", 5), ("used", 1))
"""(title, rank): the higher, the sooner it goes where room is short."""


def _summary(frame: Frame, width: int) -> list[Line]:
    """A line a device, to be compared; every column as wide as what stands in it."""
    rows = [{name: name for name, _ in _COLUMNS}, *(_cells(view) for view in frame.devices)]
    widths = {name: max(len(cells[name]) for cells in rows) + 2 for name, _ in _COLUMNS}
    ranks = dict(_COLUMNS)
    while sum(widths.values()) > width + 2 and len(widths) > 1:
        del widths[max(widths, key=lambda name: ranks[name])]
    lines: list[Line] = [rule("All devices", width)]
    for number, cells in enumerate(rows):
        text = "".join(f"{cells[name]:<{size}}" for name, size in widths.items())
        lines.append((Piece(text.rstrip(), "faint" if number == 0 else ""),))
    return lines


def _cells(view: DeviceView) -> dict[str, str]:
    device, memory = view.device, view.device.memory
    # A slice has no heat of its own, and the host tells none.
    is_bare = device.is_host or device.parent_id is not None
    watts, limit = device.power_watts, device.power_limit_watts
    return {
        "device": device.id,
        "busy": "" if is_bare else ratio_text(device.utilization_ratio),
        "heat": "" if is_bare else "?" if device.temperature_celsius is None else f"{device.temperature_celsius:.0f}°C",
        "power": "" if is_bare else "?" if watts is None else f"{watts:.0f}" + (f"/{limit:.0f} W" if limit else " W"),
        "clock": "" if is_bare else "?" if device.clock_mhz is None else f"{device.clock_mhz:.0f} MHz",
        "used": f"{bytes_text(memory.used_bytes)} / {bytes_text(memory.total_bytes)}",
    }


def _section(view: DeviceView, row: DeviceRow, names: dict[str, str | None], width: int) -> list[Line]:
    device = view.device
    cut_from = f" · a slice of {device.parent_id}" if device.parent_id is not None else ""
    lines = [rule(f"{device.id} · {device.name}{cut_from}", width), *tall_lines(row, width)[1:]]
    lines += fold([_fact(name, value) for name, value in _facts(device)], width, gap=3)
    if device.note:
        lines.append((Piece(left(f"■ {device.note}", width).rstrip(), "error"),))
    for server_id, split in view.splits:
        model = model_text(names.get(server_id), max(width - 36, 8))
        lines.append(_process(server_id, split.driver.value_bytes, model, width))
    for other in view.others:
        who = other.name or "a process that kvtop may not see"
        who += f" ({' '.join(other.contexts)})" if other.contexts else ""
        lines.append(_process(f"pid {other.pid}", other.used_bytes, who, width))
    if device.processes is None:
        lines.append((Piece("The driver gives no list of its processes.", "warning"),))
    return lines


def _facts(device: Device) -> list[tuple[str, str]]:
    heat, watts, limit = device.temperature_celsius, device.power_watts, device.power_limit_watts
    clock, highest = device.clock_mhz, device.clock_limit_mhz
    capability = device.compute_capability
    power = "?" if watts is None else f"{watts:.0f} W" + (f" of {limit:.0f} W" if limit is not None else "")
    clocks = "?" if clock is None else f"{clock:.0f} MHz" + (f" of {highest:.0f} MHz" if highest is not None else "")
    if device.is_host:
        return [("reserved", bytes_text(device.memory.reserved_bytes))] if device.memory.reserved_bytes else []
    if device.parent_id is not None:
        return [
            ("heat, power and clocks", f"those of {device.parent_id}"),
            *([("uuid", device.uuid)] if device.uuid else []),
        ]
    mapped = sum(row.mapped_host_bytes or 0 for row in device.processes or ())
    has_capability = capability is not None or CUDA in device.driver.compute_apis or not device.driver.compute_apis
    return [
        ("busy", ratio_text(device.utilization_ratio)),
        ("temperature", "?" if heat is None else f"{heat:.0f}°C"),
        ("power", power),
        ("clock", clocks),
        ("reserved by the driver", bytes_text(device.memory.reserved_bytes)),
        *(
            [("capability", "?" if capability is None else f"{capability[0]}.{capability[1]}")]
            if has_capability
            else []
        ),
        *([("memory", "shared with the host")] if device.unified_memory else []),
        *([("its processes map of the host", bytes_text(mapped))] if mapped else []),
        *([] if device.lists_all_processes else [("processes", "only those that kvtop may look at")]),
        *([("slot", device.pci_address)] if device.pci_address else []),
        *([("uuid", device.uuid)] if device.uuid else []),
    ]


def _fact(name: str, value: str) -> Line:
    return (Piece(f"{name} ", "faint"), Piece(value, "warning" if value == "?" else ""))


def _process(who: str, size_bytes: int | None, what: str, width: int) -> Line:
    head = left(f"  {who}", min(24, width // 2))
    return (
        Piece(head),
        Piece(right(bytes_text(size_bytes), 9), "strong"),
        Piece(f"  {left(what, width - len(head) - 11)}".rstrip(), "faint"),
    )
