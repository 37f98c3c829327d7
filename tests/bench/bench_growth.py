"""What stays behind of servers that are gone: RSS, descriptors and threads over restarts, and the slope of them.

`python -m tests.bench.bench_growth [RESTARTS]`: a llama-server that crashes and starts again, each time with another
pid and the same model, watched, planned, written to a recording and exported, as a crash loop of a unit is. The first
third is not counted: allocators and caches fill then.
"""

import asyncio
import gc
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kvtop.app.frames import analysed_aside, new_history
from kvtop.domain.process import Process
from kvtop.io.limits import resident_bytes
from kvtop.sources.devices.device_reader import DeviceReader
from kvtop.sources.engines import engine_of_process
from kvtop.sources.poller import Poller, PollerOptions
from kvtop.sources.processes.discovery import ProcessTable, own_user
from kvtop.sources.processes.found_process import FoundProcess, Recognises
from kvtop.sources.processes.process_facts import Stat
from kvtop.sources.recordings.encoding import Info
from kvtop.sources.recordings.writer import RecordingWriter
from kvtop.views.export.metrics.exposition import text_format
from kvtop.views.export.metrics.families import families
from tests.models.tiny_gguf import write_tiny_gguf

RESTARTS = 300
BUDGET_BYTES = 4096
"""Of RSS for a restart: one every five seconds could take 68 MiB a day at most."""


class CrashLoop:
    """A reader of processes: one server, which has another pid at every look."""

    def __init__(self, model: Path) -> None:
        self._model = model
        self._process: subprocess.Popen[bytes] | None = None
        self._looks = 0

    def stats(self) -> Iterator[tuple[int, Stat]]:
        self.end()
        self._process = subprocess.Popen(["sleep", "60"])
        self._looks += 1
        yield self._process.pid, Stat("llama-server", 1, str(self._looks))

    def end(self) -> None:
        """Without the last one too."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def first_look(self, pid: int, stat: Stat, recognises: Recognises) -> FoundProcess | None:
        argv = ("llama-server", "-m", str(self._model), "-c", "4096", "--port", "9")
        if not recognises(stat.name, argv):
            return None
        return FoundProcess(Process(pid, 1, stat.name, argv, cwd="/", user=own_user(), environ=()), argv, {})

    def again(self, process: Process, *, with_ports: bool) -> Process:
        del with_ports
        return process

    def child(self, pid: int, stat: Stat, known: Process | None) -> Process:
        del known
        return Process(pid, stat.ppid, stat.name, ())


@dataclass(frozen=True, slots=True)
class Growth:
    """What one restart leaves behind, by least squares; and what there was at the end."""

    bytes_per_restart: float
    descriptors: int
    threads: int
    resident_bytes: int
    models: int


async def grown(restarts: int, folder: Path) -> Growth:
    """Watch so many restarts."""
    loop = CrashLoop(write_tiny_gguf(folder / "model.gguf"))
    table = ProcessTable(lambda comm, argv: engine_of_process(comm, argv) is not None, reader=loop)
    poller = Poller(PollerOptions(deadline_seconds=2.0), DeviceReader(()), table)
    history = new_history()
    writer = RecordingWriter(folder / "x.kvtop", Info("bench", 1.0))
    points: list[tuple[float, float]] = []
    models = 0
    try:
        for number in range(restarts):
            sample = await poller.sample()
            frame = await analysed_aside(history, sample)
            writer.write(sample)
            text_format(families(frame))
            models += len(sample.models)
            if number >= restarts // 3 and number % 5 == 0:
                gc.collect()
                points.append((float(number), float(resident_bytes())))
    finally:
        loop.end()
        writer.close()
        await poller.aclose()
    slope = statistics.linear_regression(*zip(*points, strict=True)).slope
    descriptors = Path("/proc/self/fd")
    held = len(list(descriptors.iterdir())) if descriptors.exists() else 0
    return Growth(slope, held, threading.active_count(), resident_bytes(), models)


def main() -> None:
    """Print it."""
    restarts = int(sys.argv[1]) if len(sys.argv) > 1 else RESTARTS
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(grown(restarts, Path(folder)))
    print(
        f"{restarts} restarts: {found.bytes_per_restart / 1024:.2f} KiB of RSS each (budget {BUDGET_BYTES >> 10}), then"
    )
    print(f"{found.resident_bytes >> 20} MiB, {found.descriptors} descriptors and {found.threads} threads")


if __name__ == "__main__":
    main()
