"""CPU of one tick of the analysis, on the busiest host of the demo: eight cards and 32 servers, all at work."""

import statistics
import sys
import time

from kvtop.analysis.analyse import History, analyse
from kvtop.sources.demo import scenario

BUDGET_MS = 10.0
TICKS = 120


def main() -> int:
    """Print the median and the best tick, and the first one, which makes all plans. Exit 1 above the budget."""
    busy = scenario("busy_32")
    samples = [busy.at(float(second)) for second in range(TICKS)]
    history, spent = History(), []
    for sample in samples:
        began = time.process_time()
        frame = analyse(history, sample, "bench")
        spent.append((time.process_time() - began) * 1000)
    first, later = spent[0], spent[1:]
    median = statistics.median(later)
    print(
        f"{len(frame.devices)} devices, {len(frame.servers)} servers: {median:.1f} ms a tick (budget {BUDGET_MS:.0f})"
    )
    print(f"best {min(later):.1f} ms, first {first:.0f} ms")
    return 0 if median <= BUDGET_MS else 1


if __name__ == "__main__":
    sys.exit(main())
