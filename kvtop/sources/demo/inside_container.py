"""kvtop in a container beside the server: the driver lists pids of the host, which are nobody's here."""

from dataclasses import replace

from kvtop.domain.process import Process
from kvtop.domain.sample import Failure, Sample
from kvtop.sources.demo import rtx4090_llamacpp

PID_INSIDE = 7
_WHY = "not in /proc: kvtop runs in a container, and the driver counts the host's processes"


def at(second: float) -> Sample:
    """The container at that second."""
    whole = rtx4090_llamacpp.at(second)
    server = replace(whole.processes[0], pid=PID_INSIDE, ppid=0)
    listed = [row.pid for device in whole.devices for row in device.processes or ()]
    strangers = tuple(Process(pid, None, "?", None, unreadable=(_WHY,)) for pid in listed)
    remedy = "run kvtop on the host, or start its container with the host's pids (docker run --pid=host)"
    return replace(
        whole,
        host="a1b2c3d4e5f6",
        processes=(server, *strangers),
        servers=(replace(whole.servers[0], pids=(PID_INSIDE,)),),
        failures=(Failure(f"gpu0 pid {', '.join(map(str, listed))}", f"processes of the driver are {_WHY}", remedy),),
    )
