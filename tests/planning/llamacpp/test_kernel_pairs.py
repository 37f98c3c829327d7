"""Which pairs of cache types a backend reads natively, converts, or leaves to the CPU."""

from dataclasses import replace

import pytest

from kvtop.domain.answers.cache_speed import Speed
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.cache_speed import cache_speed
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.cache_speed import build_number, running_api
from kvtop.planning.llamacpp.kernel_pairs import DEFAULT_PAIRS, Attending, pair_speed
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.parse import parse_llama_server
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from kvtop.sources.demo.gguf_models import llama31_8b
from tests.amounts import size_of

MODEL = prepare(llama31_8b("/m.gguf"))
HPARAMS = MODEL.hparams
ADA = (8, 9)


def speed(pair: str, backend: str | None, build: int | None = None, **hidden: int) -> Speed:
    type_k, type_v = pair.split("/")
    hparams = HPARAMS
    if "head" in hidden:
        lengths = (hidden["head"],) * hparams.n_layer_all
        hparams = replace(hparams, n_embd_head_k=lengths, n_embd_head_v=lengths)
    return pair_speed(type_k, type_v, hparams, Attending(backend, build, ADA)).speed


@pytest.mark.parametrize(
    ("pair", "backend", "build", "expected"),
    [
        ("f16/f16", "cuda", None, Speed.FINE),
        ("q8_0/q8_0", "cuda", None, Speed.FINE),
        ("q8_0/q8_0", "cuda", 9000, Speed.FINE),
        ("q4_0/q4_0", "cuda", None, Speed.FINE),
        ("q8_0/q4_0", "cuda", None, Speed.UNKNOWN),
        ("q8_0/q4_0", "cuda", 11434, Speed.CONVERTS),
        ("q8_0/q4_0", "cuda", 10899, Speed.ON_CPU),
        ("q8_0/q4_0", "cuda", 11000, Speed.UNKNOWN),
        ("q5_1/q5_1", "cuda", 11434, Speed.CONVERTS),
        ("q5_1/q5_1", "rocm", 9000, Speed.ON_CPU),
        ("iq4_nl/iq4_nl", "cuda", 11434, Speed.ON_CPU),
        ("f16/q8_0", "cuda", 11434, Speed.CONVERTS),
        ("q8_0/q8_0", "metal", None, Speed.FINE),
        ("q5_1/q5_1", "metal", None, Speed.FINE),
        ("q8_0/q4_0", "metal", 11434, Speed.ON_CPU),
        ("iq4_nl/iq4_nl", "metal", 11434, Speed.ON_CPU),
        ("q8_0/q4_0", "vulkan", None, Speed.FINE),
        ("iq4_nl/iq4_nl", "vulkan", None, Speed.FINE),
        ("bf16/q8_0", "vulkan", None, Speed.ON_CPU),
        ("q4_0/iq4_nl", "cpu", None, Speed.FINE),
        ("q8_0/q8_0", None, None, Speed.FINE),
        ("q8_0/q4_0", None, 11434, Speed.UNKNOWN),
    ],
)
def test_pairs(pair: str, backend: str | None, build: int | None, expected: Speed) -> None:
    assert speed(pair, backend, build) is expected


def test_heads_without_a_vector_kernel_convert_and_unknown_ones_fall() -> None:
    assert speed("q8_0/q8_0", "cuda", 11434, head=96) is Speed.CONVERTS
    assert speed("f16/f16", "cuda", 11434, head=96) is Speed.FINE
    assert speed("q8_0/q8_0", "cuda", 11434, head=160) is Speed.ON_CPU
    assert speed("q8_0/q8_0", "metal", None, head=160) is Speed.ON_CPU


def test_a_mixed_pair_is_never_safe_where_backend_or_build_is_unknown() -> None:
    for backend in ("cuda", "rocm", "metal", None):
        for type_k in CACHE_TYPES:
            for type_v in CACHE_TYPES:
                if type_k != type_v:
                    assert not pair_speed(type_k, type_v, HPARAMS, Attending(backend)).is_safe


def test_every_verdict_that_is_not_fine_says_why() -> None:
    for backend in ("cuda", "rocm", "metal", "vulkan", "cpu", None):
        for type_k in CACHE_TYPES:
            for type_v in CACHE_TYPES:
                found = pair_speed(type_k, type_v, HPARAMS, Attending(backend, 11434, ADA))
                assert found.note or found.is_safe


def test_the_converted_copy_of_one_layer_is_in_the_plan() -> None:
    """CUDA takes it with every fused attention over a quantized cache: cells x (key row + value row) x 2 bytes."""
    found = []
    for cells in (65536, 131072):
        settings = LlamaSettings(ctx_tokens=cells, parallel=1, type_k="q8_0", type_v="q8_0", flash_attention="on")
        made = plan(MODEL, settings, (PlanDevice("gpu0", 24 * 2**30, 24 * 2**30),))
        assert isinstance(made, MemoryPlan)
        part = made.device("gpu0")
        assert part is not None
        found.append(size_of(part, Segment.COMPUTE))
    row_bytes = (HPARAMS.n_embd_k_gqa(0) + HPARAMS.n_embd_v_gqa(0)) * 2
    assert found[1] - found[0] >= 65536 * row_bytes
    assert ("q8_0", "q8_0") in DEFAULT_PAIRS


def test_backend_and_build_of_a_launch() -> None:
    card = PlanDevice("gpu0", 2**34, compute_api="metal", compute_capability=None)
    assert running_api(parse_llama_server(["-m", "x"], {}), (card,)) == "metal"
    assert running_api(parse_llama_server(["-m", "x", "-ngl", "0"], {}), (card,)) == "cpu"
    assert running_api(parse_llama_server(["-m", "x"], {}), (), are_known=False) is None
    other = PlanDevice("gpu0", 2**34, compute_api="sycl", compute_capability=None)
    assert running_api(parse_llama_server(["-m", "x"], {}), (other,)) is None
    assert [build_number(text) for text in ("b11434-abc", "11434", "v0.4.1", None)] == [11434, 11434, None, None]


def test_engines_with_one_type() -> None:
    nothing = MemoryPlan("vllm", "", "", "", (), None, ())

    def asked(engine: str, name: str, value: str, capability: tuple[int, int] | None) -> Speed:
        launch = LaunchOptions(engine, (LaunchOption(name, value, Origin.ARGV),))
        device = PlanDevice("gpu0", None, compute_capability=capability)
        return cache_speed(launch, nothing, None, (device,)).speed

    assert asked("vllm", "kv-cache-dtype", "auto", None) is Speed.FINE
    assert asked("vllm", "kv-cache-dtype", "fp8", (9, 0)) is Speed.FINE
    assert asked("vllm", "kv-cache-dtype", "fp8", (8, 0)) is Speed.CONVERTS
    assert asked("vllm", "kv-cache-dtype", "fp8", None) is Speed.UNKNOWN
    assert asked("mlx", "kv-bits", "8", None) is Speed.ONE_AT_A_TIME


@pytest.mark.parametrize(
    ("head", "queries_per_key", "cells", "expected"),
    [
        (128, 4, 8192, Speed.FINE),
        (128, 5, 8191, Speed.FINE),
        (128, 5, 8192, Speed.CONVERTS),
        (256, 4, 0, Speed.FINE),
        (256, 5, 0, Speed.CONVERTS),
    ],
)
def test_bf16_converts_where_many_query_heads_share_a_long_key(
    head: int, queries_per_key: int, cells: int, expected: Speed
) -> None:
    """ggml-cuda/fattn.cu, on Ada: `gqa_ratio > 4` and keys of 256 values or 8192 cells."""
    layers = HPARAMS.n_layer_all
    hparams = replace(
        HPARAMS,
        n_embd_head_k=(head,) * layers,
        n_embd_head_v=(head,) * layers,
        n_head=(8 * queries_per_key,) * layers,
        n_head_kv=(8,) * layers,
    )
    assert pair_speed("bf16", "bf16", hparams, Attending("cuda", None, ADA, cells)).speed is expected
