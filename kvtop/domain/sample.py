"""What was measured at one instant: the only thing that crosses from `sources` to `analysis`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kvtop.domain.device import Device
from kvtop.domain.model_file import ModelFile
from kvtop.domain.process import Process
from kvtop.domain.server import ServerReading

PROCESSES = "processes"
"""The probe of this machine's processes, as `Sample.pending` names it: until it answers, no server is not "none"."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that could not be read. `source` is where: a driver, "http://127.0.0.1:8080/slots", "pid 12 environ".

    `remedy` is the one thing to do about it, or "". `is_of_driver`: `source` is a driver's name, and the driver as a
    whole cannot be read.
    """

    source: str
    message: str
    remedy: str = ""
    is_of_driver: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One tick. `taken_at` is Unix time in seconds. `pending` names probes that have not answered yet.

    `models` maps `ServerReading.model_key` to the parsed file; values are shared between ticks. `unseen_makers` are the
    makers of accelerators on this machine's buses of which no driver shows a device.
    """

    taken_at: float
    host: str
    devices: tuple[Device, ...] = ()
    processes: tuple[Process, ...] = ()
    servers: tuple[ServerReading, ...] = ()
    models: Mapping[str, ModelFile] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    pending: tuple[str, ...] = ()
    unseen_makers: tuple[str, ...] = ()
    is_demo: bool = False
    """The host is invented, and nothing was measured: whatever shows or writes it says so."""
