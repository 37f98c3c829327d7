"""LoRA adapters, control vectors and projectors. The bytes of the first two tests are what b11434 logged on a CPU."""

import pytest

from kvtop.domain.answers.room import Room
from kvtop.domain.memory import Segment
from kvtop.domain.model_file import GgufHeader, MetadataValue, TensorInfo
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.llamacpp.memory.auxiliary_models import (
    AuxiliaryModels,
    adapter_refusal,
    auxiliary_models,
    rooms_left,
    with_auxiliary_models,
)
from kvtop.planning.llamacpp.memory.prepared import PreparedModel, prepare
from kvtop.planning.llamacpp.options.parse import parse_llama_server, settings_of
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from tests.oracle.cases import Oracle

CARDS = (PlanDevice("gpu0", 80 * 2**30), PlanDevice("gpu1", 80 * 2**30))
RANK = 8
LORA = {"general.architecture": "gemma3", "general.type": "adapter", "adapter.type": "lora"}


@pytest.fixture(scope="module")
def gemma(oracle: Oracle) -> PreparedModel:
    return prepare(oracle.headers["gemma-3-270m"])


def _tensor(name: str, *shape: int, width: int = 4) -> TensorInfo:
    size_bytes = width
    for extent in shape:
        size_bytes *= extent
    return TensorInfo(name, 0, {4: "f32", 2: "f16"}[width], shape, size_bytes)


def _file(tensors: list[TensorInfo], metadata: dict[str, MetadataValue] | None = None) -> GgufHeader:
    return GgufHeader("side.gguf", 3, False, LORA if metadata is None else metadata, tuple(tensors), 0)


def _adapter(matrix: str = "attn_q", layers: int = 18, rows: int = 1024) -> GgufHeader:
    pairs = []
    for layer in range(layers):
        name = f"blk.{layer}.{matrix}.weight"
        pairs += [_tensor(f"{name}.lora_a", 640, RANK), _tensor(f"{name}.lora_b", RANK, rows)]
    return _file([*pairs, _tensor("blk.0.attn_norm.weight", 640)])


def _found(answer: AuxiliaryModels | Refusal) -> AuxiliaryModels:
    assert isinstance(answer, AuxiliaryModels), answer
    return answer


def test_an_adapter_lies_beside_the_matrices_it_changes(gemma: PreparedModel) -> None:
    pair = (640 * RANK + RANK * 1024) * 4
    on_host = _found(auxiliary_models(gemma, LlamaSettings(), (), [_adapter()], None))
    assert on_host.bytes_by_device == {"host": 18 * pair}
    some = _found(auxiliary_models(gemma, LlamaSettings(gpu_layers=5), CARDS[:1], [_adapter(), _adapter()], None))
    assert some.bytes_by_device == {"host": 2 * 14 * pair, "gpu0": 2 * 4 * pair}
    moved = LlamaSettings(tensor_overrides=((r"blk\.0\.attn_q", "CPU"),))
    one = _found(auxiliary_models(gemma, moved, CARDS[:1], [_adapter(layers=2)], None))
    assert one.bytes_by_device == {"host": pair, "gpu0": pair}


def test_a_control_vector_has_a_row_for_every_layer_but_the_first(gemma: PreparedModel) -> None:
    settings = LlamaSettings(has_control_vector=True)
    assert _found(auxiliary_models(gemma, settings, CARDS[:1], [], None)).bytes_by_device == {"gpu0": 17 * 640 * 4}


@pytest.mark.parametrize(
    ("words", "device"),
    [
        ((), "gpu0"),
        (("--no-mmproj-offload",), "host"),
        (("--mmproj-device", "CUDA1"), "gpu1"),
        (("--mmproj-device", "none"), "host"),
        (("--device", "CUDA1,CUDA0"), "gpu1"),
        (("--device", "none"), "host"),
    ],
)
def test_a_projector_lies_on_one_device(gemma: PreparedModel, words: tuple[str, ...], device: str) -> None:
    settings = settings_of(parse_llama_server(["-m", "x.gguf", "--mmproj", "p.gguf", *words], {}, []))
    assert isinstance(settings, LlamaSettings)
    projector = _file([_tensor("v.blk.0.attn_q.weight", 1152, 1152, width=2), _tensor("v.blk.0.ln1.bias", 10)], {})
    found = _found(auxiliary_models(gemma, settings, CARDS, [], projector))
    padded = 128 if device != "host" else 64
    assert found.bytes_by_device == {device: 1152 * 1152 * 2 + padded}
    assert any("compute buffers are not" in warning for warning in found.warnings)


def test_what_the_engine_finds_wrong_with_an_adapter(gemma: PreparedModel) -> None:
    model = _file([], {"general.architecture": "gemma3", "general.type": "model"})
    other = _file([], {**LORA, "general.architecture": "llama"})
    words = [getattr(adapter_refusal(file, gemma), "message", None) for file in (model, other, _adapter())]
    start = "failed to apply lora adapter: "
    assert words == [
        f"{start}expect general.type to be 'adapter', but got: model",
        f"{start}model arch and LoRA arch mismatch",
        None,
    ]
    missing = auxiliary_models(gemma, LlamaSettings(), (), [_adapter("attn_x")], None)
    assert isinstance(missing, Refusal)
    assert "LoRA tensor 'blk.0.attn_x.weight' does not exist in base model" in missing.message


def test_a_tensor_of_unknown_size_is_no_number(gemma: PreparedModel) -> None:
    odd = TensorInfo("v.odd", 99, None, (10,), None)
    with pytest.raises(NoExactRuleError, match=r"v\.odd has a type \(99\)"):
        auxiliary_models(gemma, LlamaSettings(), (), [], _file([odd], {}))


def test_the_plan_counts_them_and_says_so_where_it_cannot(gemma: PreparedModel) -> None:
    settings = LlamaSettings(ctx_tokens=4096, mmproj_path="p.gguf", lora_paths=("a.gguf",), has_control_vector=True)
    bare = plan(gemma, settings, CARDS[:1])
    assert isinstance(bare, MemoryPlan)
    assert sum("not in this plan" in warning for warning in bare.warnings) == 3
    found = _found(auxiliary_models(gemma, settings, CARDS[:1], [_adapter()], _file([_tensor("v.x", 64)], {})))
    whole = with_auxiliary_models(bare, found)
    assert not any("not in this plan" in warning for warning in whole.warnings)
    before, after = bare.device("gpu0"), whole.device("gpu0")
    assert before is not None
    assert after is not None
    added = after.memory - before.memory
    assert {segment: figure.value_bytes for segment, figure in added.parts if figure.value_bytes} == {
        Segment.WEIGHTS: found.bytes_by_device["gpu0"]
    }
    rooms = rooms_left({"gpu0": Room(10 * 2**20), "host": None}, found)
    assert rooms == {"gpu0": Room(10 * 2**20 - found.bytes_by_device["gpu0"]), "host": None}
