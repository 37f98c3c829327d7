"""A device as a recording holds it. Its names are those of the format and stay when the domain's own change.

`backend` is the driver's name. What follows from that name is no measurement and is not written: whoever reads the file
joins it from the backends that it knows.
"""

from dataclasses import MISSING, fields
from typing import Any, get_type_hints

import msgspec

from kvtop.domain.device import Device
from kvtop.sources.devices import driver_named


def _record_type() -> type:
    hints = get_type_hints(Device)
    shape: list[tuple[str, type] | tuple[str, type, object]] = []
    for each in fields(Device):
        if each.name == "driver":
            shape.append(("backend", str))
        elif each.default is MISSING:
            shape.append((each.name, hints[each.name]))
        else:
            shape.append((each.name, hints[each.name], each.default))
    return msgspec.defstruct("DeviceRecord", shape)


DEVICE_RECORD = _record_type()
_SAME = tuple(each.name for each in fields(Device) if each.name != "driver")


def record_of(device: Device) -> dict[str, object]:
    """What is written of a device."""
    return {"backend": device.driver.name} | {name: getattr(device, name) for name in _SAME}


def device_of(record: Any) -> Device:  # noqa: ANN401  a struct made above
    """The device of a record."""
    return Device(driver=driver_named(record.backend), **{name: getattr(record, name) for name in _SAME})
