"""What ggml-cuda keeps for its fused mixtures of experts: in the high end of the range until a card has confirmed it.

Recorded with b11434 on a simulated card, with and without the allocation dependencies that
`ggml_backend_cuda_graph_optimize` adds; 32768 cells, four slots.
"""

import pytest

from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.llamacpp.graph.compute_buffers import buffer_bytes
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.model_plan import ModelPlan
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan, plan_model
from tests.amounts import high_of, low_of, size_of
from tests.oracle.cases import Oracle

_CARD = (PlanDevice("gpu0", 800 * 2**30),)
_SETTINGS = LlamaSettings(ctx_tokens=32768, fit=False)


@pytest.mark.parametrize(
    ("model", "plain_bytes", "fused_bytes"),
    [
        ("qwen3-next-80b", 123746560, 169883904),
        ("qwen3.5-35b-a3b", 109072640, 146821376),
        ("gemma-4-26b-a4b", 142106752, 188244096),
        ("glm-4.5-air", 203438208, 270547072),
        ("granite-4-h-tiny", 85891584, 87046656),
        ("mixtral-8x7b", 243284096, 243284096),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_range_holds_both(more_models: Oracle, model: str, plain_bytes: int, fused_bytes: int) -> None:
    prepared = prepare(more_models.headers[model])
    answer = plan(prepared, _SETTINGS, _CARD)
    assert isinstance(answer, MemoryPlan)
    part = answer.devices[0]
    assert low_of(part, Segment.COMPUTE) <= size_of(part, Segment.COMPUTE) == plain_bytes
    assert fused_bytes <= high_of(part, Segment.COMPUTE) <= fused_bytes * 1.2
    found = plan_model(prepared, _SETTINGS, _CARD)
    assert isinstance(found, ModelPlan)
    assert buffer_bytes(prepared, found.context, _SETTINGS, found.layout, with_fusions=True)["gpu0"] == fused_bytes


def test_experts_in_host_memory_are_not_fused(more_models: Oracle) -> None:
    prepared = prepare(more_models.headers["glm-4.5-air"])
    settings = LlamaSettings(ctx_tokens=32768, fit=False, cpu_moe=True)
    found = plan_model(prepared, settings, _CARD)
    assert isinstance(found, ModelPlan)
    plain = buffer_bytes(prepared, found.context, settings, found.layout)
    assert buffer_bytes(prepared, found.context, settings, found.layout, with_fusions=True)["gpu0"] == pytest.approx(
        plain["gpu0"], rel=0.01
    )
