"""How large recordings are, and how fast a day of one opens and seeks. `python -m tests.bench.bench_recording`."""

import random
import statistics
import tempfile
import time
from pathlib import Path

from kvtop.sources.demo import SCENARIOS, Scenario
from kvtop.sources.recordings.encoding import Info
from kvtop.sources.recordings.reader import Recording
from kvtop.sources.recordings.writer import RecordingWriter

DAY_TICKS = 86_400


def written(scenario: Scenario, ticks: int, directory: str) -> tuple[Path, float]:
    """A recording of so many seconds, and the seconds it took to write."""
    path = Path(directory) / f"{scenario.name}-{ticks}.kvtop"
    samples = [scenario.at(float(second)) for second in range(min(ticks, 3600))]
    writer = RecordingWriter(path, Info("bench", 1.0))
    started = time.perf_counter()
    for second in range(ticks):
        writer.write(samples[second % len(samples)])
    writer.close()
    return path, time.perf_counter() - started


def main() -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as directory:
        print("| scenario | servers | bytes per server and tick, an hour | microseconds to write a tick |")
        print("|---|---|---|---|")
        for scenario in SCENARIOS:
            servers = max(len(scenario.at(0.0).servers), 1)
            path, seconds = written(scenario, 3600, directory)
            per_tick = path.stat().st_size / 3600 / servers
            print(f"| {scenario.name} | {servers} | {per_tick:.0f} | {seconds / 3600 * 1e6:.0f} |")
        path, _ = written(SCENARIOS[0], DAY_TICKS, directory)
        started = time.perf_counter()
        recording = Recording(path)
        opened = time.perf_counter() - started
        seeks = []
        for index in random.Random(1).sample(range(DAY_TICKS), 500):
            started = time.perf_counter()
            recording.sample(index)
            seeks.append(time.perf_counter() - started)
        print(f"\na day at 1 s: {path.stat().st_size / 1e6:.1f} MB, opens in {opened * 1000:.0f} ms,", end=" ")
        print(f"seeks in {statistics.median(seeks) * 1000:.1f} ms (at most {max(seeks) * 1000:.1f} ms of 500)")


if __name__ == "__main__":
    main()
