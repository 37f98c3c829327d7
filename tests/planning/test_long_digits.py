"""Numbers of strangers that have no end: Python refuses to convert more than 4300 digits."""

import pytest

from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.model_file import Checkpoint, CheckpointTensor
from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal
from kvtop.planning.gpus.visible_devices import chosen_specs
from kvtop.planning.llamacpp.cache_speed import build_number
from kvtop.planning.llamacpp.options.typed_context import meant_context_tokens
from kvtop.planning.registry import plan_launch
from kvtop.planning.vllm.options.parse import parse_serve_options
from kvtop.text import INT64_MAX, PORT_MAX, plain_number
from tests.models.tiny_models import CONFIG

LONG = "1" * 5000
CARD = PlanDevice("gpu0", 80 << 30, None, (9, 0), "cuda", "NVIDIA H100 80GB HBM3")


@pytest.mark.parametrize(
    ("text", "most", "number"),
    [
        *(
            ("0", INT64_MAX, 0),
            ("8080", INT64_MAX, 8080),
            ("00080", 80, 80),
            ("0" * 5000, 9, 0),
            ("65535", PORT_MAX, 65535),
        ),
        *((None, 9, None), ("", 9, None), ("-1", 9, None), ("+1", 9, None), (" 1", 9, None), ("1.0", 9, None)),
        *(("²", 9, None), ("٣", 9, None), ("x", 9, None), (LONG, INT64_MAX, None), ("65536", PORT_MAX, None)),
        *((str(INT64_MAX), INT64_MAX, INT64_MAX), (str(INT64_MAX + 1), INT64_MAX, None)),
    ],
    ids=lambda it: str(it)[:12],
)
def test_a_plain_number(text: str | None, most: int, number: int | None) -> None:
    assert plain_number(text, most) == number


def test_numbers_without_end_are_no_numbers() -> None:
    assert build_number(f"b{LONG}") is None
    assert meant_context_tokens(f"{LONG}k") is None
    assert chosen_specs((CARD, CARD), {"CUDA_VISIBLE_DEVICES": LONG}) == (CARD, CARD)


def test_a_tensor_of_a_layer_without_end_is_planned_without_it() -> None:
    tensor = CheckpointTensor(f"model.layers.{LONG}.mlp.weight", "BF16", (8, 8), 128)
    model = Checkpoint("DIR", {**CONFIG}, (tensor,), 128)
    assert isinstance(plan_launch(parse_serve_options(["DIR"]), model, (CARD,)), MemoryPlan)


@pytest.mark.parametrize("name", ["tensor-parallel-size", "max-model-len", "gpu-memory-utilization", "max-num-seqs"])
def test_an_option_without_end_is_a_refusal(name: str) -> None:
    options = LaunchOptions("vllm", (LaunchOption(name, LONG, Origin.ARGV),))
    assert isinstance(plan_launch(options, Checkpoint("DIR", {**CONFIG}, (), None), (CARD,)), Refusal)
