"""Where vLLM's own rules turn: the amounts just below, at and above each limit."""

import pytest

from kvtop.domain.memory import Segment
from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.vllm.models.architectures import ARCHITECTURES
from kvtop.planning.vllm.models.cached_layers import BuildTerms
from kvtop.planning.vllm.models.config_view import view
from kvtop.planning.vllm.models.dense import cohere2_moe
from kvtop.planning.vllm.options.batch import batch_of
from kvtop.planning.vllm.options.parse import parse_serve_options
from kvtop.planning.vllm.options.settings import settings_from
from kvtop.planning.vllm.planner import plan_command
from kvtop.planning.vllm.specs.groups import group_layers
from kvtop.planning.vllm.specs.layer_specs import LayerSpec, SpecKind

GIB = 1024**3
H100, A100 = "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB"
H100_BYTES = 81559 * 2**20
"""What nvidia-smi shows of one: 79.6 GiB."""


@pytest.mark.parametrize(
    ("total_bytes", "product", "tokens", "seqs"),
    [
        (70 * GIB - 1, H100, 2048, 256),
        (70 * GIB, H100, 8192, 1024),
        (H100_BYTES, H100, 8192, 1024),
        (H100_BYTES, A100, 2048, 256),
        (160 * GIB - 1, H100, 8192, 1024),
        (160 * GIB, H100, 16384, 1024),
        (160 * GIB, A100, 16384, 1024),
    ],
)
def test_default_batches_go_by_the_memory_of_the_card(total_bytes: int, product: str, tokens: int, seqs: int) -> None:
    """engine/arg_utils.py, `get_batch_defaults`."""
    device = PlanDevice("gpu0", total_bytes, None, (9, 0), "cuda", product)
    batch = batch_of(settings_from(parse_serve_options(["DIR"])), device, 131072)
    assert (batch.max_batched_tokens, batch.max_seqs) == (tokens, seqs)


def test_a_window_of_command_a_moe_is_one_token_more() -> None:
    """cohere2_moe.py."""
    kinds = ["sliding_attention", "full_attention"] * 2
    config = {"model_type": "cohere2_moe", "sliding_window": 4096, "layer_types": kinds}
    assert cohere2_moe(view(config), 4) == (4097, None, 4097, None)


def test_a_window_of_cohere_2_is_one_token_more_and_those_of_others_are_not() -> None:
    """commandr.py: a layer sees its token and the window before it. Blocks of 16 tokens hide the difference."""
    config = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "sliding_window": 4096}
    windows = {
        name: [layer.window for layer in ARCHITECTURES[name].build(view(config), BuildTerms(1))]
        for name in ("Cohere2ForCausalLM", "Exaone4ForCausalLM")
    }
    assert windows == {
        "Cohere2ForCausalLM": [4097, 4097, 4097, None],
        "Exaone4ForCausalLM": [4096, 4096, 4096, None],
    }


@pytest.mark.parametrize(
    ("full", "windows", "sizes"),
    [(14, 10, [14, 10]), (15, 10, [8, 7, 10]), (16, 10, [8, 8, 10]), (10, 15, [10, 8, 7]), (3, 2, [2, 1, 2])],
)
def test_buckets_are_padded_below_half_as_many_more_and_split_from_there(
    full: int, windows: int, sizes: list[int]
) -> None:
    """kv_cache_utils.py, `_get_kv_cache_groups_uniform_page_size`: `max < min * 1.5`."""
    one = LayerSpec(SpecKind.FULL, 16, 512, 8, 8, 128, 128, "bfloat16")
    other = LayerSpec(SpecKind.SLIDING, 16, 512, 8, 8, 128, 128, "bfloat16", window=1024)
    assert [len(group.layers) for group in group_layers((one,) * full + (other,) * windows)] == sizes


def test_the_rest_of_a_card_is_from_a_hundredth_to_an_eighth_of_it() -> None:
    """What vLLM measures only when it starts, as docs/accuracy.md has it: a range, and never a certain number."""
    config: dict[str, object] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "bfloat16",
        "max_position_embeddings": 8192,
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    }
    plan = plan_command(
        ["DIR"], Checkpoint("DIR", config, (), None), (PlanDevice("gpu0", 100 * GIB, None, (9, 0), "cuda", H100),)
    )
    assert isinstance(plan, MemoryPlan)
    rest = plan.devices[0].memory[Segment.COMPUTE]
    assert (rest.low_bytes, rest.value_bytes, rest.high_bytes) == (GIB, 13 * GIB // 2, 12 * GIB)
