"""A program that reads devices when it is told to, so that a driver that hangs or dies takes only it along.

`KVTOP_TEST_ONLY` names the drivers that it reads, beside the host's memory; `KVTOP_TEST_TREE_xe` is the root of xe's
tree (amdgpu and i915 likewise) and `KVTOP_TEST_SECOND` the file of the backend of the tests' own.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from kvtop.domain.device import Device, DeviceMemory, ProcessMemory
from kvtop.domain.driver import Driver
from kvtop.sources.devices import BACKENDS
from kvtop.sources.devices.amdgpu.reader import AmdgpuBackend
from kvtop.sources.devices.backend import BackendDescriptor
from kvtop.sources.devices.device_reader import DeviceReader
from kvtop.sources.devices.intel.reader import IntelBackend
from kvtop.sources.devices.intel.regions import CardMemory

SECOND = Driver("second", "Second", "Abacus Inc.")


class SecondBackend:
    """Shows what its file says, however late: it is read when a read ends, as a driver would answer then."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[Device, ...]:
        while (state := json.loads(self._path.read_text())).get("hangs"):
            time.sleep(0.02)
        return tuple(
            Device(
                id=f"gpu{index}",
                name="Abacus 1",
                driver=SECOND,
                memory=DeviceMemory(24 << 30, card["used"], (24 << 30) - card["used"]),
                processes=None if state.get("denied") else tuple(ProcessMemory(*row) for row in card["held"]),
                measured_at=time.time(),
                pci_address=card["address"],
            )
            for index, card in enumerate(state["cards"])
        )

    def close(self) -> None:
        """Nothing is held."""


def backends() -> list[BackendDescriptor]:
    """The table of this program: kvtop's own, with stand-ins for what this machine does not have."""
    table = [*BACKENDS[:-1], BackendDescriptor(SECOND, _second), BACKENDS[-1]]
    only = os.environ.get("KVTOP_TEST_ONLY")
    wanted = None if only is None else {*only.split(","), "host"}
    return [_on_its_tree(it) for it in table if it.name in (wanted or {"nvml", "host"})]


def _on_its_tree(backend: BackendDescriptor) -> BackendDescriptor:
    """The real reader in front of the tree that the environment names for it."""
    tree = os.environ.get(f"KVTOP_TEST_TREE_{backend.name}")
    if tree is None:
        return backend
    root = Path(tree)
    if backend.name == "amdgpu":
        return replace(backend, open=lambda: AmdgpuBackend(root, _clock(root)))
    driver = backend.driver
    return replace(
        backend, open=lambda: IntelBackend(driver, root, _clock(root), ask_memory=lambda _, node: _told(root, node))
    )


def _told(root: Path, node: Path) -> CardMemory | None:
    """The answer of the system call, which only a card can give: from a file with total and used."""
    total, used = map(int, (root / "answers" / node.name).read_text().split())
    return CardMemory(total, used)


def _second() -> SecondBackend:
    return SecondBackend(Path(os.environ["KVTOP_TEST_SECOND"]))


def _clock(root: Path) -> Callable[[], float]:
    """Reading a file of sysfs can be made to hang only in the kernel: here the clock that is asked before it does."""

    def seconds() -> float:
        while (root / "hang").exists():
            time.sleep(0.02)
        return time.monotonic() * 20  # so that cards are looked for more than once in a test

    return seconds


def _shown(device: Device) -> dict[str, object]:
    """The device as JSON: its driver by name, and of a process what every driver tells, more only where it is told."""
    always = ("pid", "used_bytes", "contexts")
    rows = [
        {name: value for name, value in asdict(row).items() if name in always or value not in ("", None)}
        for row in device.processes or ()
    ]
    processes = None if device.processes is None else rows
    return asdict(device) | {"driver": device.driver.name, "processes": processes}


def main() -> None:
    reader = DeviceReader(backends(), retry_seconds=float(sys.argv[1]))
    for line in sys.stdin:
        verb, _, argument = line.strip().partition(" ")
        started = time.monotonic()
        if verb == "quit":
            return
        if verb == "read":
            devices, failures = asyncio.run(reader.read(float(argument)))
        else:
            devices, failures = reader.read_once(float(argument))
        answer = {
            "devices": {device.id: _shown(device) for device in devices},
            "failures": [asdict(failure) for failure in failures],
            "seconds": time.monotonic() - started,
        }
        print(json.dumps(answer), flush=True)


main()
