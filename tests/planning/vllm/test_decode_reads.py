"""What one token reads on a rank of vLLM: a share of each matrix, the experts it uses, its tokens in the pool."""

from dataclasses import replace

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.model_file import Checkpoint, CheckpointTensor
from kvtop.domain.plan import PlanDevice
from kvtop.planning.gpus.specs import parse_gpu_specs
from kvtop.planning.protocol.decode_reads import DecodeReads
from kvtop.planning.vllm.decode_reads import decode_reads
from kvtop.planning.vllm.options.parse import parse_serve_options
from tests.models.rule_models import checkpoints

LAYERS = 48


def mixture() -> Checkpoint:
    """Qwen3 30B-A3B with its tensors, each matrix of a layer in one."""
    config = checkpoints()["qwen3-30b-a3b"].config
    shapes = {
        "model.embed_tokens.weight": (151936, 2048),
        "lm_head.weight": (151936, 2048),
        "model.norm.weight": (2048,),
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        shapes |= {
            f"{at}.self_attn.q_proj.weight": (4096, 2048),
            f"{at}.self_attn.k_proj.weight": (512, 2048),
            f"{at}.self_attn.v_proj.weight": (512, 2048),
            f"{at}.self_attn.o_proj.weight": (2048, 4096),
            f"{at}.mlp.experts.0.gate_proj.weight": (768 * 128, 2048),
            f"{at}.mlp.experts.0.up_proj.weight": (768 * 128, 2048),
            f"{at}.mlp.experts.0.down_proj.weight": (2048, 768 * 128),
        }
    tensors = []
    for name, shape in shapes.items():
        size = 2
        for extent in shape:
            size *= extent
        tensors.append(CheckpointTensor(name, "BF16", shape, size))
    return Checkpoint("/m", config, tuple(tensors), sum(it.size_bytes for it in tensors))


def reads(options: str, checkpoint: Checkpoint, cards: tuple[PlanDevice, ...], tokens: int) -> DecodeReads:
    found = decode_reads(launch(options), checkpoint, cards, tokens)
    assert isinstance(found, DecodeReads), found
    return found


def launch(options: str) -> LaunchOptions:
    return parse_serve_options(("/m", "--max-model-len", "8192", *options.split()))


def test_a_rank_reads_its_share_of_the_experts_in_use_and_of_the_pool() -> None:
    cards = parse_gpu_specs(("H100",) * 4)
    one = reads("", mixture(), cards, 0)
    assert list(one.weights) == ["gpu0"]
    # 3.35 billion of 30.5 billion parameters, two bytes each, without the rows of the embedding.
    assert 5.5e9 < one.weights["gpu0"] < 7e9
    assert one.mixtures == {"gpu0": LAYERS}
    four = reads("--tensor-parallel-size 4", mixture(), cards, 0)
    assert four.ranks == 4
    assert 0.24 < four.weights["gpu0"] / one.weights["gpu0"] < 0.27
    longer = reads("", mixture(), cards, 8192)
    assert longer.cache["gpu0"] == 8192 * LAYERS * 2 * 4 * 128 * 2


def test_a_mixture_without_names_of_experts_has_no_estimate() -> None:
    nameless = checkpoints()["qwen3-30b-a3b"]
    assert decode_reads(launch(""), nameless, parse_gpu_specs(("H100",)), 0) == (
        "which of the weights are experts is not known"
    )
    bare = replace(nameless, tensors=(), tensor_bytes=None)
    assert isinstance(decode_reads(launch(""), bare, parse_gpu_specs(("H100",)), 0), str)
