"""Where tensors go and how buffers round them."""

from dataclasses import replace

import pytest

from kvtop.domain.memory import Segment
from kvtop.domain.model_file import GgufHeader, TensorInfo
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.memory.buffers import HOST_BUFFER, device_buffer
from kvtop.planning.llamacpp.memory.gpu_operations import gpu_can_hold
from kvtop.planning.llamacpp.model.loading import load_hparams
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from tests.amounts import size_of
from tests.oracle.cases import Oracle

CARD = PlanDevice("gpu0", 80 * 2**30)
CUDA = device_buffer(CARD)


def _weights(header: GgufHeader, settings: LlamaSettings, devices: tuple[PlanDevice, ...]) -> dict[str, int | None]:
    answer = plan(header, settings, devices)
    assert isinstance(answer, MemoryPlan)
    return {device.name: device.memory.bytes_of(Segment.WEIGHTS) for device in answer.devices}


def test_cuda_pads_the_last_row_of_a_quantized_matrix() -> None:
    matrix = TensorInfo("blk.0.attn_q.weight", 8, "q8_0", (640, 1024), 640 * 1024 // 32 * 34)
    assert CUDA.allocated(matrix, 696320) == 696320 + (1024 - 640) // 32 * 34 + 104
    assert HOST_BUFFER.allocated(matrix, 696320) == 696320
    vector = TensorInfo("blk.0.attn_norm.weight", 0, "f32", (640,), 2560)
    assert CUDA.allocated(vector, 2560) == 2560
    one = TensorInfo("blk.0.layer_output_scale.weight", 0, "f32", (1,), 4)
    assert (CUDA.allocated(one, 4), HOST_BUFFER.allocated(one, 4)) == (128, 32)


def test_cache_rows_are_padded_like_matrices() -> None:
    assert CUDA.allocated_rows(CACHE_TYPES["q8_0"], 1024, 256) == 1024 // 32 * 34 * 256
    assert CUDA.allocated_rows(CACHE_TYPES["q8_0"], 256, 256) == 256 // 32 * 34 * 256 + 256 // 32 * 34 + 112
    assert HOST_BUFFER.allocated_rows(CACHE_TYPES["f16"], 64, 3) == 384


def test_other_backends_do_not_pad_rows() -> None:
    assert device_buffer(PlanDevice("gpu0", None, compute_api="metal")) == HOST_BUFFER
    assert device_buffer(PlanDevice("gpu0", None, compute_api="rocm")) == CUDA


def test_a_tied_embedding_is_held_twice_with_a_gpu(oracle: Oracle) -> None:
    header = oracle.headers["gemma-3-270m"]
    embedding = 640 * 262144 // 32 * 34
    alone = _weights(header, LlamaSettings(), ())
    with_card = _weights(header, LlamaSettings(), (CARD,))
    assert with_card["host"] == embedding
    assert alone["host"] is not None
    assert with_card["gpu0"] is not None
    assert with_card["gpu0"] > alone["host"]
    # Without offloaded layers both uses share one host buffer.
    assert _weights(header, LlamaSettings(gpu_layers=0), (CARD,)) == {"gpu0": 0, "host": alone["host"]}


def test_a_cpu_build_repacks_the_copy_of_an_embedding_it_has_a_layout_for(oracle: Oracle) -> None:
    original = oracle.headers["lfm2-1.2b"]
    size_bytes = 2048 * 65536 // 256 * 144
    tensors = tuple(
        TensorInfo(tensor.name, 12, "q4_K", tensor.shape, size_bytes) if tensor.name == "token_embd.weight" else tensor
        for tensor in original.tensors
    )
    header = GgufHeader("x", 3, False, original.metadata, tensors, 0)
    repacked = _weights(header, LlamaSettings(), ())["host"]
    plain = _weights(header, LlamaSettings(repack=False), ())["host"]
    assert repacked is not None
    assert plain is not None
    assert repacked - plain == size_bytes


def test_overrides_move_weights_and_nothing_else(oracle: Oracle) -> None:
    header = oracle.headers["qwen3-30b-a3b"]
    whole = plan(header, LlamaSettings(), (CARD,))
    moved = plan(header, LlamaSettings(cpu_moe=True), (CARD,))
    assert isinstance(whole, MemoryPlan)
    assert isinstance(moved, MemoryPlan)
    before, after = whole.device("gpu0"), moved.device("gpu0")
    assert before is not None
    assert after is not None
    assert before.memory.bytes_of(Segment.WEIGHTS) is not None
    assert after.memory.bytes_of(Segment.WEIGHTS) is not None
    assert size_of(after, Segment.WEIGHTS) < size_of(before, Segment.WEIGHTS) / 5
    assert size_of(after, Segment.KV_CACHE) == size_of(before, Segment.KV_CACHE)


def test_an_override_to_a_device_and_a_wrong_one(oracle: Oracle) -> None:
    header = oracle.headers["llama-3.1-8b"]
    everything = LlamaSettings(gpu_layers=0, tensor_overrides=((".*", "CUDA0"),))
    assert _weights(header, everything, (CARD,))["host"] == 0
    unknown = Refusal("llama.cpp", 'error while handling argument "--override-tensor": unknown buffer type')
    for name in ("CUDA1", "CUDA_Host", "CPU_REPACK", "NPU"):
        assert plan(header, LlamaSettings(tensor_overrides=((".*", name),)), (CARD,)) == unknown
    with pytest.raises(NoExactRuleError, match="buffer type 'Vulkan0'"):
        plan(header, LlamaSettings(tensor_overrides=((".*", "Vulkan0"),)), (CARD,))
    with pytest.raises(NoExactRuleError, match="tensor override"):
        plan(header, LlamaSettings(tensor_overrides=(("blk.(", "CPU"),)), (CARD,))


def test_an_override_names_a_card_whatever_the_order_of_the_cards(oracle: Oracle) -> None:
    header, cards = oracle.headers["llama-3.1-8b"], (CARD, replace(CARD, name="gpu1"))
    everything = LlamaSettings(gpu_layers=0, tensor_overrides=((".*", "CUDA0"),), devices=("CUDA1", "CUDA0"))
    weights = _weights(header, everything, cards)
    assert (weights["host"], weights["gpu1"]) == (0, 0)
    assert weights["gpu0"]


def test_operations_that_cuda_lacks_keep_weights_on_the_host(oracle: Oracle) -> None:
    hparams = load_hparams(oracle.headers["mamba2-2.7b"])
    assert gpu_can_hold(TensorInfo("blk.0.ssm_a", 0, "f32", (1, 80), 320), hparams)
    assert gpu_can_hold(TensorInfo("blk.0.ssm_conv1d.weight", 0, "f32", (4, 5376), 86016), hparams)
    assert not gpu_can_hold(TensorInfo("blk.0.ssm_conv1d.weight", 0, "f32", (4, 100), 1600), hparams)
    assert not gpu_can_hold(TensorInfo("blk.0.attn_norm.weight", 30, "bf16", (2560,), 5120), hparams)
    assert gpu_can_hold(TensorInfo("blk.0.ssm_in.weight", 30, "bf16", (2560, 10576), 54149120), hparams)
    assert not gpu_can_hold(TensorInfo("blk.0.ssm_in.weight", 34, "tq1_0", (2560, 10576), 1), hparams)


def test_an_unknown_tensor_type_is_refused(oracle: Oracle) -> None:
    original = oracle.headers["llama-3.1-8b"]
    odd = TensorInfo("blk.0.attn_q.weight", 99, None, (4096, 4096), None)
    with pytest.raises(NoExactRuleError, match=r"attn_q\.weight has a type \(99\)"):
        plan(GgufHeader("x", 3, False, original.metadata, (odd,), 0), LlamaSettings(), ())
