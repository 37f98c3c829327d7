"""kvtop in a container beside the server: the driver lists pids of the host, which are nobody's here."""

from dataclasses import replace

from kvtop.domain.sample import Sample
from kvtop.sources.demo import rtx4090_llamacpp
from kvtop.sources.demo.timeline import EPOCH

PID_INSIDE = 7


def at(second: float) -> Sample:
    """The container at that second."""
    whole = rtx4090_llamacpp.at(second)
    process = replace(whole.processes[0], pid=PID_INSIDE, ppid=0)
    reading = replace(whole.servers[0], pids=(PID_INSIDE,))
    return replace(whole, taken_at=EPOCH + second, host="a1b2c3d4e5f6", processes=(process,), servers=(reading,))
