"""How long plans may take, with room for a busy machine; `tests/bench/bench_plans.py` measures against the budgets."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from kvtop.domain.model_file import GgufHeader
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from tests.oracle.cases import Oracle

CARD = (PlanDevice("gpu0", 80 * 2**30),)
CONTEXTS = (2048, 4096, 8192, 12288, 16384, 24576, 32768, 49152, 65536, 98304, 114688, 131072)
PLAIN = LlamaSettings(ctx_tokens=8192, fit=False)


def _cpu_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times) * 1000


@pytest.mark.bench
def test_a_parsed_header_is_planned_at_once(oracle: Oracle) -> None:
    header: GgufHeader = oracle.headers["gemma-3-27b"]
    assert _cpu_ms(lambda: plan(prepare(header), PLAIN, CARD)) < 10


@pytest.mark.bench
def test_a_grid_of_what_ifs_takes_no_longer_than_a_blink(oracle: Oracle) -> None:
    header: GgufHeader = oracle.headers["llama-3.1-8b"]

    def grid() -> None:
        model = prepare(header)
        for type_k in CACHE_TYPES:
            for type_v in CACHE_TYPES:
                for tokens in CONTEXTS:
                    settings = replace(PLAIN, type_k=type_k, type_v=type_v, ctx_tokens=tokens)
                    assert isinstance(plan(model, settings, CARD), MemoryPlan)

    assert _cpu_ms(grid) < 800
