"""Measures the budgets of docs/performance.md on this machine and prints them as a Markdown table.

Run by `make bench`. CPU seconds are user plus system of the process and its children, the median of the runs; bytes are
what the dashboard wrote to its terminal.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.dashboard import KVTOP, Dashboard

BIN = Path(sys.executable).parent
RUNS = 9
WINDOW_SECONDS = 15.0


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
    _dashboards(row)
    print("| what | measured | budget |\n|---|---|---|")
    for columns in rows:
        print(f"| {' | '.join(columns)} |")
    return 0


def _dashboards(row: Callable[[str, str, str], None]) -> None:
    """The dashboard at 130x40: quiet, ordinary and busy hosts; its first paint; keys while the sources hang."""
    paints: list[float] = []
    figures: list[float] = []
    for _ in range(RUNS):
        board = Dashboard([KVTOP, "--demo"])
        board.wait_for("Looking for")
        paints.append(board.cpu_seconds())
        board.wait_for("KV reserved")
        figures.append(board.cpu_seconds())
        board.quit()
    row("dashboard, first paint: CPU", f"{statistics.median(paints):.2f} s", "0.6 s")
    row("dashboard, first figures: CPU", f"{statistics.median(figures):.2f} s", "1 s")
    player = [sys.executable, "-m", "tests.views.tui.tui_player"]
    for name, command, cpu, limit in (
        ("one device and one server", [KVTOP, "--demo"], "2 %", "5 kB/s"),
        ("one device and three servers", [*player, "three"], "2 %", "5 kB/s"),
        ("nothing changes", [KVTOP, "--demo", "nothing"], "2 %", "0 B/s"),
        ("8 devices and 32 servers", [KVTOP, "--demo", "busy_32"], "10 %", "20 kB/s"),
    ):
        board = Dashboard(command)
        time.sleep(6)
        before = board.resident_mib()
        cpu_percent, bytes_per_second = board.window(WINDOW_SECONDS)
        row(f"dashboard, {name}: CPU", f"{cpu_percent:.1f} % of a core", cpu)
        row(f"dashboard, {name}: to the terminal", f"{bytes_per_second:.0f} B/s", limit)
        row(f"dashboard, {name}: RSS", f"{before:.0f} MiB, then {board.resident_mib():.0f} MiB", "70 MiB")
        row(f"dashboard, {name}: leaves after q", f"{board.quit():.2f} s", "1 s")
    board = Dashboard([*player, "hanging"], 100, 30)
    board.wait_for("KV reserved")
    time.sleep(2)
    answers = []
    for _ in range(RUNS):
        answers += [board.answer_seconds(b"8", "answered"), board.answer_seconds(b"1", "headroom")]
    row("a key while the sources hang", f"{statistics.median(answers) * 1000:.0f} ms", "50 ms")
    board.quit()


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
    row("the same / `gpustat --json`", f"{ratio:.2f}", "1.3")


if __name__ == "__main__":
    sys.exit(main())
