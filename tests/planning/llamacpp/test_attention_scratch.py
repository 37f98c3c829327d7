"""What fused attention allocates for itself, by API: formulas of the sources of b11434, worked out by hand."""

import pytest

from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.llamacpp.memory.attention_scratch import Attention, Scratch, scratch_bytes, scratch_of
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from tests.models.rule_models import gguf_models

MIB = 2**20
ASKED = Attention(
    cells=4096,
    widths=(1024, 1024),
    types=("q8_0", "f16"),
    heads=32,
    heads_kv=8,
    result_bytes=32 * 128 * 512 * 4,
    queries=512,
    streams=1,
)


def test_cuda_copies_what_is_not_f16_and_vulkan_nothing() -> None:
    assert scratch_bytes(Scratch.COPIES_OTHER_TYPES, ASKED) == 4096 * 1024 * 2
    assert scratch_bytes(Scratch.NONE, ASKED) == 0
    assert scratch_of("vulkan", 11434) is scratch_of("unknown", 11434) is Scratch.NONE
    assert scratch_of("rocm", 11434) is scratch_of("cuda", 11434) is scratch_of("sycl", 11434)


def test_before_it_was_reserved_with_the_graph_kernels_took_it_from_a_pool() -> None:
    assert scratch_of("cuda", 9294) is scratch_of("sycl", 10566) is scratch_of("metal", 10068) is Scratch.NONE
    assert scratch_of("cuda", 9538) is Scratch.COPIES_OTHER_TYPES
    assert scratch_of("metal", 10566) is Scratch.COPIES_ALL


def test_metal_keeps_room_for_both_copies_the_tail_the_blocks_and_partial_results() -> None:
    copies = 4096 * (1024 + 1024) * 2
    tail = 64 * ((1024 + 1024) * 2 * 8 + 512 * 2)
    blocks = (512 // 8) * (4096 // 64)
    partial = 4 * 32 * 32 * 32 * (128 + 2)
    assert scratch_bytes(Scratch.COPIES_ALL, ASKED) == copies + tail + blocks + partial


def _compute(api: str, kind: str) -> tuple[int, int, int]:
    settings = LlamaSettings(ctx_tokens=262144, parallel=1, ubatch_tokens=128, type_k=kind, type_v=kind)
    capability = (8, 9) if api == "cuda" else None
    card = PlanDevice("gpu0", 80 << 30, compute_capability=capability, compute_api=api)
    found = plan(gguf_models()["qwen3.5-9b"], settings, (card,))
    assert isinstance(found, MemoryPlan)
    part = found.device("gpu0")
    assert part is not None
    compute = part.memory[Segment.COMPUTE]
    assert compute.value_bytes is not None
    assert compute.low_bytes is not None
    assert compute.high_bytes is not None
    return compute.low_bytes, compute.value_bytes, compute.high_bytes


def test_a_quantized_cache_costs_compute_with_cuda_and_none_with_vulkan() -> None:
    """262144 cells x (1024 + 1024) values x 2 bytes are 1 GiB: the start that ran on an RX 5700 XT had none of it."""
    assert _compute("cuda", "q8_0")[1] - _compute("cuda", "f16")[1] == pytest.approx(1024 * MIB, rel=0.02)
    assert abs(_compute("vulkan", "q8_0")[1] - _compute("vulkan", "f16")[1]) < 2 * MIB


@pytest.mark.parametrize("api", ["vulkan", "metal", "sycl"])
def test_what_nobody_measured_has_a_wide_range(api: str) -> None:
    low, value, high = _compute(api, "f16")
    assert low < value * 0.75
    assert high > value * 1.25
    cuda = _compute("cuda", "f16")
    assert cuda[2] - cuda[0] < high - low
