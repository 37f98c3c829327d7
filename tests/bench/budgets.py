"""Measures the budgets of docs/performance.md on this machine and prints them as a Markdown table.

Run by `make bench`. CPU seconds are user plus system of the process and its children, the median of the runs; bytes are
what the dashboard wrote to its terminal.
"""

import os
import pty
import resource
import select
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

BIN = Path(sys.executable).parent
RUNS = 9
WINDOW_SECONDS = 15.0
_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(command: Sequence[str]) -> float:
    """CPU seconds of one run of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def median_cpu_ms(command: Sequence[str]) -> float:
    """The median over RUNS runs, in milliseconds, after one that warms the disk cache."""
    cpu_seconds(command)
    return statistics.median(cpu_seconds(command) for _ in range(RUNS)) * 1000


class Dashboard:
    """The dashboard in a terminal of 80 columns and 24 rows that somebody reads."""

    def __init__(self, *arguments: str) -> None:
        pid, self._terminal = pty.fork()
        if pid == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", COLUMNS="80", LINES="24")
            os.execv(str(BIN / "kvtop"), ["kvtop", *arguments])
        self._pid = pid
        self._written_bytes = 0
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def _drain(self) -> None:
        while True:
            try:
                select.select([self._terminal], [], [])
                data = os.read(self._terminal, 65536)
            except OSError:
                return
            self._written_bytes += len(data)
            if b"\x1b[?2026$p" in data:
                os.write(self._terminal, b"\x1b[?2026;2$y")

    def _cpu_ticks(self) -> int:
        fields = Path(f"/proc/{self._pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def window(self) -> tuple[float, float, float]:
        """(CPU per cent of a core, bytes per second, resident MiB) over the window, after the first paint."""
        time.sleep(6)
        ticks, written, started = self._cpu_ticks(), self._written_bytes, time.monotonic()
        time.sleep(WINDOW_SECONDS)
        elapsed = time.monotonic() - started
        cpu_percent = (self._cpu_ticks() - ticks) / _TICK / elapsed * 100
        status = Path(f"/proc/{self._pid}/status").read_text(encoding="ascii")
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return cpu_percent, (self._written_bytes - written) / elapsed, resident / 1024

    def quit(self) -> float:
        """Press q; seconds until it has left."""
        started = time.monotonic()
        os.write(self._terminal, b"q")
        os.waitpid(self._pid, 0)
        return time.monotonic() - started


def main() -> int:
    """Print the table."""
    rows: list[tuple[str, str, str]] = []

    def row(what: str, value: str, budget: str) -> None:
        rows.append((what, value, budget))
        print(f"{what}: {value} (budget: {budget})", file=sys.stderr)

    kvtop = str(BIN / "kvtop")
    row("`kvtop --version`, CPU", f"{median_cpu_ms([kvtop, '--version']):.0f} ms", "60 ms")
    row("`kvtop snapshot --json`, CPU", f"{median_cpu_ms([kvtop, 'snapshot', '--json']):.0f} ms", "300 ms")
    _against_gpustat(row)
    for name, arguments in (
        ("demo, one device and one server", ["--demo"]),
        ("nothing changes", ["--demo", "nothing"]),
    ):
        board = Dashboard(*arguments)
        cpu_percent, bytes_per_second, resident_mib = board.window()
        row(f"dashboard, {name}: CPU", f"{cpu_percent:.1f} % of a core", "2 %")
        limit = "5 kB/s" if arguments == ["--demo"] else "0 B/s"
        row(f"dashboard, {name}: to the terminal", f"{bytes_per_second:.0f} B/s", limit)
        row(f"dashboard, {name}: RSS", f"{resident_mib:.0f} MiB", "70 MiB")
        row(f"dashboard, {name}: leaves after q", f"{board.quit():.2f} s", "1 s")
    print("| what | measured | budget |\n|---|---|---|")
    for columns in rows:
        print(f"| {' | '.join(columns)} |")
    return 0


def _against_gpustat(row: Callable[[str, str, str], None]) -> None:
    """Both on the same stand-in driver with one card, in turn: a machine without a card can compare them too."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "libnvidia-ml.so.1"
        source = Path(__file__).resolve().parents[1] / "standin_nvml" / "standin_nvml.c"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-lpthread"], check=True)
        scenario = Path(folder) / "scenario.txt"
        scenario.write_text(
            "device gpu0\nname gpu0 Example\nuuid gpu0 GPU-1\ntotal gpu0 25769803776\nused gpu0 1073741824\n"
            f"reserved gpu0 0\ncc gpu0 8 9\nprocess gpu0 compute {os.getpid()} 1073741824\n",
            encoding="utf-8",
        )
        os.environ.update(LD_LIBRARY_PATH=folder, STANDIN_NVML_SCENARIO=str(scenario))
        gpustat = [str(BIN / "gpustat"), "--json"]
        subprocess.run(gpustat, check=True, capture_output=True)
        ours, theirs = [], []
        for _ in range(RUNS):
            ours.append(cpu_seconds([str(BIN / "kvtop"), "snapshot", "--json"]))
            theirs.append(cpu_seconds(gpustat))
        del os.environ["LD_LIBRARY_PATH"]
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    row("`kvtop snapshot --json` with one card, CPU", f"{statistics.median(ours) * 1000:.0f} ms", "300 ms")
    row("the same / `gpustat --json`", f"{ratio:.2f}", "1.5")


if __name__ == "__main__":
    sys.exit(main())
