"""Sizes that follow from two walks are the sizes a walk gives."""

import pytest

from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.llamacpp.graph.allocation import Script, script_of
from kvtop.planning.llamacpp.graph.graph import Graph, Resident
from kvtop.planning.llamacpp.graph.lengths import Lengths
from kvtop.planning.llamacpp.graph.schedule import schedule
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from tests.oracle.cases import Oracle

CARD = (PlanDevice("gpu0", 80 * 2**30),)
CONTEXTS = (131072, 2048, 512, 4096, 8192, 300, 12345, 24576, 98304)
PAIRS = (("f16", "f16"), ("f32", "q8_0"), ("q4_1", "iq4_nl"))


@pytest.mark.parametrize("name", ["llama-3.1-8b", "gemma-3-27b", "qwen3.5-9b", "deepseek-v2-lite", "gpt-oss-20b"])
@pytest.mark.parametrize("swa_full", [False, True])
def test_a_length_planned_after_others_is_the_length_planned_alone(oracle: Oracle, name: str, swa_full: bool) -> None:
    header = oracle.headers[name]
    shared = prepare(header)
    compared = 0
    for type_k, type_v in PAIRS:
        for flash_attention in ("on", "off"):
            for tokens in CONTEXTS:
                settings = LlamaSettings(
                    ctx_tokens=tokens,
                    fit=False,
                    type_k=type_k,
                    type_v=type_v,
                    flash_attention=flash_attention,
                    swa_full=swa_full,
                )
                together = plan(shared, settings, CARD)
                assert together == plan(prepare(header), settings, CARD)
                compared += isinstance(together, MemoryPlan)
    assert compared >= len(CONTEXTS)


def _script(score_bytes: int, *, twice: bool = False) -> Script:
    graph = Graph(1, True)
    graph.rows = 512
    x = graph.weighted(1024, Resident(4096, 0, rows=8), ())
    score = graph.compute(score_bytes, (x,))
    if twice:
        score = graph.compute(score_bytes, (score, x))
    graph.compute(1024, (score,))
    return script_of(graph.inputs, schedule(graph, 1), 1)


def _refused() -> Script:
    raise AssertionError("walked although two lengths are known")


def test_the_third_length_is_not_walked() -> None:
    lengths = Lengths((128, 32))
    for cells in (256, 512):
        lengths.peaks(cells, lambda: _script(cells * 64))  # noqa: B023 - called at once
    alone = Lengths((128, 32)).peaks(4096, lambda: _script(4096 * 64))
    assert lengths.peaks(4096, _refused) == alone


def test_graphs_that_are_not_alike_are_walked_each() -> None:
    lengths = Lengths((128, 32))
    lengths.peaks(256, lambda: _script(256 * 64))
    lengths.peaks(512, lambda: _script(512 * 64, twice=True))
    with pytest.raises(AssertionError, match="walked"):
        lengths.peaks(1024, _refused)


def test_growth_by_no_whole_number_of_bytes_a_cell_is_not_guessed() -> None:
    lengths = Lengths((128, 32))
    lengths.peaks(256, lambda: _script(1000))
    lengths.peaks(512, lambda: _script(1001))
    with pytest.raises(AssertionError, match="walked"):
        lengths.peaks(1024, _refused)
