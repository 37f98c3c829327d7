"""Model files that no engine would load, under servers that run: their plan is unknown, and the rest is explained."""

from dataclasses import replace
from random import Random

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.analysis.diff.planned_server import planned_servers
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.model_file import Checkpoint, GgufHeader, ModelFile
from kvtop.domain.plan import NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.guards import refuse_endless
from kvtop.planning.llamacpp.model.prepared import prepare
from kvtop.planning.registry import plan_launch
from kvtop.planning.vllm.on_host import on_host
from kvtop.sources.demo import SCENARIOS, scenario
from tests.models.tiny_models import CONFIG, tiny_checkpoint

VALUES: tuple[object, ...] = (
    *(None, "x", "", -1, 0, 1, 2**31, 2**63, 2**70, 10**12, 1.5, float("nan"), float("inf"), [], {}, [1, "a"], True),
    *("\x1b[31m", "9" * 50, [None], {"a": 1}),
)


def changed(random: Random, values: dict[str, object]) -> dict[str, object]:
    for _ in range(random.choice((1, 1, 2, 4))):
        name = random.choice(sorted(values)) if values else "x"
        if random.random() < 0.3:
            values.pop(name, None)
        else:
            values[name] = random.choice(VALUES)
    return values


def odd_model(random: Random, model: ModelFile) -> ModelFile:
    if isinstance(model, Checkpoint):
        return replace(model, config=changed(random, dict(model.config)))
    tensors = list(model.tensors)
    if random.random() < 0.4:
        tensors.pop(random.randrange(len(tensors)))
    return replace(model, metadata=changed(random, dict(model.metadata)), tensors=tuple(tensors))  # type: ignore[arg-type]  # any values


@pytest.mark.parametrize(
    "name", [it.name for it in SCENARIOS if it.at(0.0).models and it.name not in {"busy_32", "h100x8_vllm_tp"}]
)
def test_a_file_that_contradicts_itself_never_stops_the_watch(name: str) -> None:
    random, sample = Random(name), scenario(name).at(8.0)
    for _ in range(25):
        models = {key: odd_model(random, model) for key, model in sample.models.items()}
        odd = replace(sample, models=models)
        frame = analyse(History(), odd, "1")
        assert [view.reading.id for view in frame.servers] == [reading.id for reading in sample.servers]
        assert all(view.plan is not None or view.plan_note for view in frame.servers)
        planned_servers(odd)


def test_a_missing_tensor_is_named() -> None:
    sample = SCENARIOS[0].at(8.0)
    ((key, model),) = sample.models.items()
    assert isinstance(model, GgufHeader)
    kept = tuple(it for it in model.tensors if "attn_output" not in it.name)
    (view,) = analyse(History(), replace(sample, models={key: replace(model, tensors=kept)}), "1").servers
    assert view.plan is None
    assert "not what the rules of llama.cpp expect (KeyError: 'attn_output')" in view.plan_note
    assert view.splits[0].driver.value_bytes == sample.devices[0].processes[0].used_bytes  # type: ignore[index]  # it lists


def launch(engine: str, **options: str) -> LaunchOptions:
    rows = tuple(LaunchOption(name.replace("_", "-"), value, Origin.ARGV) for name, value in options.items())
    return LaunchOptions(engine, rows)


@pytest.mark.parametrize("name", ["num_hidden_layers", "num_local_experts"])
@pytest.mark.parametrize("nested", [False, True])
def test_more_layers_than_there_can_be_are_refused_at_once(name: str, nested: bool) -> None:
    config: dict[str, object] = {**CONFIG, name: 10**12}
    model = replace(tiny_checkpoint(), config={"text_config": config} if nested else config)
    for engine in ("vllm", "mlx"):
        with pytest.raises(NoExactRuleError, match=f"{name} 1000000000000 is more than any model has"):
            plan_launch(launch(engine, model="/m"), model, (PlanDevice("gpu0", 1 << 34),))
    with pytest.raises(NoExactRuleError, match="more than any model has"):
        on_host(launch("vllm", model="/m"), model)


def test_vllm_on_the_host_refuses_in_its_own_words_too() -> None:
    refused = on_host(launch("vllm", model="/m", tensor_parallel_size="two"), tiny_checkpoint())
    assert refused == Refusal("vllm", "argument --tensor-parallel-size: invalid int value: 'two'")
    assert on_host(LaunchOptions("vllm", errors=("no such flag",)), tiny_checkpoint()) == Refusal(
        "vllm", "no such flag"
    )
    with pytest.raises(NoExactRuleError, match="999999999 ranks are more than one machine has"):
        on_host(launch("vllm", model="/m", tensor_parallel_size="999999999"), tiny_checkpoint())


def test_a_header_without_what_its_architecture_needs_is_unknown() -> None:
    model = next(iter(SCENARIOS[0].at(0.0).models.values()))
    assert isinstance(model, GgufHeader)
    odd = replace(model, metadata={**model.metadata, "gemma3.attention.head_count": [None]})  # type: ignore[dict-item]  # the point
    with pytest.raises(NoExactRuleError):
        prepare(odd)


def test_a_vocabulary_for_each_layer_is_no_count_of_layers() -> None:
    refuse_endless({"text_config": {"vocab_size_per_layer_input": 262144, "hidden_size_per_layer_input": 256}})
