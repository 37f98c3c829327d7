"""Host memory is a device on every machine."""

from pathlib import Path

import pytest

from kvtop.domain.device import DeviceState
from kvtop.sources.devices.host import open_backend


def test_host_memory_agrees_with_the_kernel() -> None:
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        pytest.skip("no /proc/meminfo on this system")
    kernel = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in meminfo.read_text().splitlines()}
    (device,) = open_backend().read()
    assert (device.id, device.driver.name, device.state) == ("host", "host", DeviceState.OK)
    assert device.memory.total_bytes == kernel["MemTotal"]
    assert device.memory.free_bytes == pytest.approx(kernel["MemAvailable"], rel=0.2)
    assert device.memory.used_bytes is not None
    assert device.memory.free_bytes is not None
    assert device.memory.used_bytes + device.memory.free_bytes == kernel["MemTotal"]
    assert device.processes == ()
