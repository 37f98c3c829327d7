"""A Mac's GPU from what its programs print. No Mac was at hand: the lines are saved ones, the largest of them real."""

import pytest

from kvtop.domain.device import Device
from kvtop.sources.devices import BACKENDS
from kvtop.sources.devices.apple.reader import IOREG, SYSCTL, AppleBackend, run_program
from kvtop.sources.devices.backend import DriverGoneError

GIB = 2**30
REGISTRY = """\
+-o AGXAcceleratorG13X  <class AGXAcceleratorG13X, id 0x1000004bd, registered, matched, active, busy 0 (0 ms)>
    {
      "IOClass" = "AGXAcceleratorG13X"
      "model" = "Apple M1 Max"
      "PerformanceStatistics" = {"In use system memory (driver)"=0,"Alloc system memory"=4272832512,\
"Tiler Utilization %"=54,"recoveryCount"=0,"Renderer Utilization %"=57,"TiledSceneBytes"=1081344,\
"Device Utilization %"=57,"Allocated PB Size"=120061952,"In use system memory"=1200357376}
    }
"""


def mac(sysctl: str, registry: str | None = REGISTRY) -> AppleBackend:
    return AppleBackend(lambda words: {SYSCTL: sysctl, IOREG: registry}[words])


def settings(memory_gib: int, wired_mb: object = 0) -> str:
    return f"hw.memsize: {memory_gib * GIB}\niogpu.wired_limit_mb: {wired_mb}\nmachdep.cpu.brand_string: Apple M1 Max\n"


def read(backend: AppleBackend) -> Device:
    (device,) = backend.read()
    return device


def test_a_limit_that_is_set_is_exact() -> None:
    gpu = read(mac(settings(64, 57344)))
    assert (gpu.name, gpu.driver.name, gpu.unified_memory, gpu.processes) == ("Apple M1 Max", "apple", True, None)
    assert (gpu.memory.total_bytes, gpu.memory.used_bytes) == (56 * GIB, 1200357376)
    assert gpu.memory.free_bytes == 56 * GIB - 1200357376
    assert (gpu.utilization_ratio, gpu.note) == (0.57, "")


@pytest.mark.parametrize(
    ("memory_gib", "limit_mib"), [(16, 10922), (32, 21845), (36, 27648), (64, 49152), (128, 98304)]
)
def test_a_default_limit_is_estimated_and_says_so(memory_gib: int, limit_mib: int) -> None:
    gpu = read(mac(settings(memory_gib)))
    assert (gpu.memory.total_bytes or 0) // 2**20 == limit_mib
    assert "estimated" in gpu.note


@pytest.mark.parametrize("wired", ["", "-1", "x", "9" * 30])
def test_a_limit_that_is_no_number_is_not_one(wired: str) -> None:
    assert "estimated" in read(mac(settings(16, wired))).note


def test_what_is_not_told_is_unknown() -> None:
    gpu = read(mac("sysctl: unknown oid 'iogpu.wired_limit_mb'", '"PerformanceStatistics" = {"In use (x)"=1}'))
    assert (gpu.memory.total_bytes, gpu.memory.used_bytes, gpu.memory.free_bytes) == (None, None, None)
    assert gpu.utilization_ratio is None
    assert gpu.name == "Apple GPU"


def test_more_in_use_than_the_limit_leaves_nothing_free() -> None:
    assert read(mac(settings(64, 512))).memory.free_bytes == 0


def test_a_registry_that_does_not_answer_is_a_failure() -> None:
    with pytest.raises(DriverGoneError, match="ioreg"):
        mac(settings(16), None).read()


def test_a_virtual_machine_has_no_gpu() -> None:
    assert mac(settings(16), "+-o Root\n").read() == ()


def test_elsewhere_there_is_no_such_driver() -> None:
    (backend,) = (it for it in BACKENDS if it.name == "apple")
    assert backend.open() is None
    assert run_program(("/nowhere/ioreg",)) is None
