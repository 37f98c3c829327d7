"""Host memory is a device on every machine."""

from pathlib import Path

import psutil
import pytest

from kvtop.domain.device import DeviceState
from kvtop.sources.devices import host
from kvtop.sources.devices.host import host_memory, open_backend


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


@pytest.mark.parametrize("text", ["MemTotal: 1 kB\n", "MemTotal: x kB\nMemAvailable: 1 kB\n", "", None])
def test_where_the_kernel_does_not_say_it_psutil_is_asked(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "meminfo"
    if text is not None:
        file.write_text(text, encoding="ascii")
    monkeypatch.setattr(host, "_MEMINFO", file)
    memory = psutil.virtual_memory()
    assert host_memory().total_bytes == memory.total


def test_what_the_kernel_says_is_in_kibibytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "meminfo"
    file.write_text(
        "MemTotal:       4 kB\nMemFree: 1 kB\nMemAvailable:   3 kB\nHugePages_Total:   0\n", encoding="ascii"
    )
    monkeypatch.setattr(host, "_MEMINFO", file)
    found = host_memory()
    assert (found.total_bytes, found.free_bytes, found.used_bytes) == (4096, 3072, 1024)
