"""CPU time of llama.cpp plans with their compute buffers: `python -m tests.bench.bench_plans`, part of `make bench`.

One case from a parsed header (best of 20), and a grid of 9 x 9 cache types x 12 contexts on a model (best of 3),
for models of the recorded answers. CPU milliseconds of this process. Exits with 1 when a budget is missed.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace

from kvtop.domain.plan import PlanDevice
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from tests.oracle.cases import load_oracle

MODELS = ("llama-3.1-8b", "qwen3-30b-a3b", "gemma-3-27b", "qwen3.5-9b")
CONTEXTS = (2048, 4096, 8192, 12288, 16384, 24576, 32768, 49152, 65536, 98304, 114688, 131072)
CARD = (PlanDevice("gpu0", 80 * 2**30),)
PLAIN = LlamaSettings(ctx_tokens=8192, fit=False, flash_attention="on")
CASE_BUDGET_MS, GRID_BUDGET_MS = 2.0, 150.0


def best_cpu_ms(work: Callable[[], object], runs: int) -> float:
    """The least CPU time of some runs, in milliseconds."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times) * 1000


def main() -> int:
    """Measure, print a Markdown table, and judge."""
    headers = load_oracle().headers
    missed = False
    print(f"| model | a case (budget {CASE_BUDGET_MS:.0f} ms) | a grid of 972 (budget {GRID_BUDGET_MS:.0f} ms) |")
    print("|---|---|---|")
    for name in MODELS:
        header = headers[name]

        def grid() -> None:
            model = prepare(header)  # noqa: B023 - called at once
            for type_k in CACHE_TYPES:
                for type_v in CACHE_TYPES:
                    for tokens in CONTEXTS:
                        plan(model, replace(PLAIN, type_k=type_k, type_v=type_v, ctx_tokens=tokens), CARD)

        case = best_cpu_ms(lambda: plan(prepare(header), PLAIN, CARD), 20)  # noqa: B023 - called at once
        whole = best_cpu_ms(grid, 3)
        print(f"| {name} | {case:.2f} ms | {whole:.0f} ms |")
        missed = missed or case > CASE_BUDGET_MS or whole > GRID_BUDGET_MS
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
