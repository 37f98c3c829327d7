"""CPU time of llama.cpp plans with their compute buffers: `python -m tests.bench.bench_plans`, part of `make bench`.

One case from a parsed header (best of 20), and a grid of 9 x 9 cache types x 12 contexts on a model (best of 3),
for models of the recorded answers; then `--fit` of mixtures over four cards, a recommendation that places one, and a
key of the what-if. CPU milliseconds of this process. Exits with 1 when a budget is missed.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace

from kvtop.analysis.analyse import History, analyse
from kvtop.app.what_if_session import WhatIfSession
from kvtop.domain.plan import PlanDevice
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.fit.fitted import fit
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from kvtop.sources.demo import SCENARIOS
from kvtop.verbs.command_line.one_shot import collect_rarely
from tests.oracle.cases import MORE_MODELS, load_oracle
from tests.planning.llamacpp.test_placements import model_of, recommended

MODELS = ("llama-3.1-8b", "qwen3-30b-a3b", "gemma-3-27b", "qwen3.5-9b")
CONTEXTS = (2048, 4096, 8192, 12288, 16384, 24576, 32768, 49152, 65536, 98304, 114688, 131072)
CARD = (PlanDevice("gpu0", 80 * 2**30),)
PLAIN = LlamaSettings(ctx_tokens=8192, fit=False, flash_attention="on")
CASE_BUDGET_MS, GRID_BUDGET_MS = 2.0, 150.0
MIXTURES = ("deepseek-v3.2", "kimi-k2", "minimax-m2", "glm-4.5-air")
FIT_BUDGET_MS, RECOMMEND_BUDGET_MS, KEY_BUDGET_MS = 150.0, 1000.0, 50.0


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
    collect_rarely()
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
    return int(any([missed, fits(), places(), keys()]))


def fits() -> bool:
    """The fit of large mixtures over four unequal cards. Returns whether one misses the budget."""
    headers = load_oracle(MORE_MODELS).headers
    devices = tuple(PlanDevice(f"gpu{at}", size << 30, size << 30) for at, size in enumerate((24, 24, 16, 12)))
    print(f"\n| --fit over four cards | CPU (budget {FIT_BUDGET_MS:.0f} ms) |\n|---|---|")
    slowest = 0.0
    for name in MIXTURES:
        model = best_cpu_ms(lambda: fit(prepare(headers[name]), LlamaSettings(), devices), 3)  # noqa: B023
        print(f"| {name} | {model:.0f} ms |")
        slowest = max(slowest, model)
    return slowest > FIT_BUDGET_MS


def places() -> bool:
    """`kvtop recommend` of a mixture that is larger than the card. Returns whether it misses the budget."""

    def anew() -> None:
        model_of.cache_clear()
        recommended("gpt-oss-120b", "24GiB")

    work = best_cpu_ms(anew, 3)
    print(f"\n| recommend gpt-oss-120b on 24 GiB | {work:.0f} ms (budget {RECOMMEND_BUDGET_MS:.0f} ms) |")
    return work > RECOMMEND_BUDGET_MS


def keys() -> bool:
    """Keys of the what-if of a server that a restart would fit. Returns whether one misses the budget."""
    scenario = next(it for it in SCENARIOS if it.name == "rtx4090_llamacpp")
    sample = scenario.at(8.0)
    history, session = History(), WhatIfSession({"XDG_DATA_HOME": "/nonexistent"})
    session.note(sample, analyse(history, sample, "bench"))
    (server_id, *_) = (reading.id for reading in sample.servers)
    session.ask(server_id)
    slowest = 0.0
    for knob in ("context", "type_k", "slots", "batch", "context"):
        start = time.process_time()
        session.turn(server_id, knob, 1)
        session.ask(server_id)
        slowest = max(slowest, (time.process_time() - start) * 1000)
    print(f"| a key of the what-if, with --fit | {slowest:.0f} ms (budget {KEY_BUDGET_MS:.0f} ms) |")
    return slowest > KEY_BUDGET_MS


if __name__ == "__main__":
    sys.exit(main())
