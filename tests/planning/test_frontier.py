"""The frontier says of every cell what a plan of it says, and marks where the server stands."""

import json
from dataclasses import replace

import pytest

from kvtop.domain.answers.frontier import Cell, Frontier, Row
from kvtop.domain.answers.room import Fit, Room
from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.figure import Figure
from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.frontier import COLUMNS, columns, frontier
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.parse import parse_llama_server
from kvtop.planning.llamacpp.what_if.frontier import PAIRS
from kvtop.planning.mlx.options import parse_server_options
from kvtop.planning.protocol.plan_context import PlanContext, PlannableModel
from kvtop.planning.registry import plan_launch
from kvtop.planning.vllm.options.parse import parse_serve_options
from kvtop.planning.vllm.what_if.frontier import SEQUENCES
from kvtop.planning.what_if import compare
from kvtop.sources.demo.gguf_models import llama31_8b
from kvtop.views.text.frontier_text import frontier_json
from tests.models.tiny_models import tiny_checkpoint

GIB = 2**30


def plan_context(model: PlannableModel, room_bytes: int) -> PlanContext:
    card = PlanDevice("gpu0", room_bytes, room_bytes)
    return PlanContext(model, (card,), {"gpu0": Room(room_bytes), "host": None}, {})


def test_llamacpp_cells_agree_with_plans_and_the_edge_is_where_it_is_said() -> None:
    model = prepare(llama31_8b("/m.gguf"))
    base = WhatIf(parse_llama_server(["-m", "/m.gguf", "-c", "20480", "-fa", "on"], {}))
    here = plan_context(model, 8 * GIB)
    now = plan_launch(base.launch, model, here.devices)
    assert isinstance(now, MemoryPlan)
    found = frontier(here, base, now, 131072)
    assert found.current is not None
    row, column = found.current
    assert (found.rows[row].label, found.amounts[column]) == ("f16/f16", 20480)
    for line in found.rows:
        for cell in line.cells:
            assert cell.fit is compare(here, None, replace(base, changes=cell.changes)).fit
        assert line.largest is not None
        fits = [cell.amount for cell in line.cells if cell.fit is Fit.FITS]
        assert max(fits, default=0) <= line.largest <= 131072
        beyond = base.with_changes(
            **{
                "ctx-size": str(line.largest + 256),
                "cache-type-k": line.label.split("/")[0],
                "cache-type-v": line.label.split("/")[1],
            }
        )
        if line.largest < 131072:
            assert compare(here, None, beyond).fit is not Fit.FITS
    by_label = {line.label: line.largest or 0 for line in found.rows}
    assert by_label["f16/f16"] < by_label["q8_0/q8_0"] < by_label["q4_0/q4_0"]


def test_a_refused_type_says_why() -> None:
    model = prepare(llama31_8b("/m.gguf"))
    base = WhatIf(parse_llama_server(["-m", "/m.gguf", "-fa", "off"], {}))
    here = plan_context(model, 24 * GIB)
    now = plan_launch(base.launch, model, here.devices)
    assert isinstance(now, MemoryPlan)
    rows = {line.label: line for line in frontier(here, base, now, 131072).rows}
    assert "flash_attn" in rows["q8_0/q8_0"].refusal
    assert rows["q8_0/q8_0"].largest is None
    assert rows["f16/f16"].refusal == ""


def test_without_room_known_nothing_is_claimed() -> None:
    model = prepare(llama31_8b("/m.gguf"))
    base = WhatIf(parse_llama_server(["-m", "/m.gguf"], {}))
    here = PlanContext(model, (PlanDevice("gpu0", None),), {}, {})
    now = plan_launch(base.launch, model, here.devices)
    assert isinstance(now, MemoryPlan)
    for line in frontier(here, base, now, 131072).rows:
        assert line.largest is None
        assert {cell.fit for cell in line.cells} == {Fit.UNKNOWN}


@pytest.mark.parametrize("pool", ["64M", None])
def test_vllm_counts_requests(pool: str | None) -> None:
    words = ["/m", "--max-model-len", "4096", *(["--kv-cache-memory-bytes", pool] if pool else [])]
    base, model = WhatIf(parse_serve_options(words)), tiny_checkpoint()
    here = plan_context(model, 24 * GIB)
    now = plan_launch(base.launch, model, here.devices)
    assert isinstance(now, MemoryPlan)
    found = frontier(here, base, now, 4096)
    assert found.amounts == SEQUENCES
    rows = {line.label: line for line in found.rows}
    assert rows["fp8"].largest is not None
    assert rows["auto"].largest is not None
    # Half the bytes a token are twice the tokens of a stated pool; the low end of an estimated one is lower for fp8,
    # whose kernels take buffers that few public logs show.
    assert rows["fp8"].largest >= (2 if pool else 1.8) * rows["auto"].largest
    assert [cell.fit for cell in rows["auto"].cells] == sorted(
        (cell.fit for cell in rows["auto"].cells), key=[Fit.FITS, Fit.TIGHT, Fit.TOO_LARGE].index
    )


def test_mlx_looks_at_one_sequence() -> None:
    base, model = WhatIf(parse_server_options(["--model", "/m"]), at_tokens=1000), tiny_checkpoint()
    here = PlanContext(model, (), {"host": Room(14 << 20)}, {})
    now = plan_launch(base.launch, model, (), at_tokens=1000)
    assert isinstance(now, MemoryPlan)
    found = frontier(here, base, now, 4096)
    assert found.current is not None
    assert found.amounts[found.current[1]] == 1000
    # Compute memory is not planned for MLX: no cell claims to fit, and those whose known part is too much do not.
    for line in found.rows:
        for cell in line.cells:
            plan = plan_launch(replace(base, changes=cell.changes).launch, model, (), at_tokens=cell.amount)
            assert isinstance(plan, MemoryPlan)
            (part,) = plan.devices
            known = (part.memory.bytes_of(Segment.WEIGHTS) or 0) + (part.memory.bytes_of(Segment.KV_CACHE) or 0)
            assert cell.fit is (Fit.TOO_LARGE if known > 14 << 20 else Fit.UNKNOWN)
        assert line.largest is None
    assert {cell.fit for line in found.rows for cell in line.cells} == {Fit.UNKNOWN, Fit.TOO_LARGE}


def test_the_present_cell_changes_nothing() -> None:
    for words in (["-m", "/m.gguf"], ["-m", "/m.gguf", "-c", "20480", "-ctk", "q8_0", "-ctv", "q8_0"]):
        model = prepare(llama31_8b("/m.gguf"))
        base = WhatIf(parse_llama_server(words, {}))
        now = plan_launch(base.launch, model, plan_context(model, 24 * GIB).devices)
        assert isinstance(now, MemoryPlan)
        found = frontier(plan_context(model, 24 * GIB), base, now, 131072)
        assert found.current is not None
        assert found.rows[found.current[0]].cells[found.current[1]].changes == ()
    base, checkpoint = WhatIf(parse_serve_options(["/m", "--kv-cache-memory-bytes", "64M"])), tiny_checkpoint()
    here = plan_context(checkpoint, 24 * GIB)
    now = plan_launch(base.launch, checkpoint, here.devices)
    assert isinstance(now, MemoryPlan)
    assert now.vllm is not None
    found = frontier(here, base, now, 4096)
    assert found.current is not None
    row, column = found.current
    assert found.rows[row].cells[column].changes == ()
    assert found.amounts[column] <= (now.vllm.max_concurrency or 0) < found.amounts[column + 1]


def test_columns_are_powers_of_two_with_the_present_and_the_most() -> None:
    assert columns(131072, 20480) == (2048, 4096, 8192, 16384, 20480, 32768, 65536, 131072)
    assert columns(2**20, 4096) == (4096, *(2**power for power in range(13, 21)))
    assert len(columns(2**20, 5000)) == COLUMNS == 10
    assert len(columns(10**7, 4096)) == COLUMNS
    assert len(columns(2**18, 5000)) == 9, "what is there, where ten are not"
    assert columns(512, 512) == (512, 2048)
    assert len(PAIRS) == len(set(PAIRS))


def test_a_need_that_is_unknown_is_null_in_json() -> None:
    cell = Cell(1, Fit.UNKNOWN, Figure.computed(None), ())
    row = Row("f16", (cell,), None)
    written = json.loads(frontier_json(Frontier("llama.cpp", "context", (1,), (row,), None), "m", ()))
    assert written["rows"][0]["cells"][0]["needed_bytes"] is None
