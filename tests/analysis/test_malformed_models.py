"""Model files that no engine would load: always MalformedModelError or NoExactRuleError, never another exception.

A fault of kvtop is never told as the file's: whatever else a rule raises goes on to whoever asked.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import gguf
import pytest
from hypothesis import given, settings
from hypothesis.strategies import randoms, sampled_from

from kvtop.analysis.analyse import History, analyse
from kvtop.analysis.diff.planned_server import planned_servers
from kvtop.analysis.usage.cache_view import cache_view
from kvtop.cli import main
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.model_file import Checkpoint, GgufHeader, ModelFile, TensorInfo
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.domain.server import ServerReading
from kvtop.planning.guards import refuse_endless
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.parse import parse_llama_server
from kvtop.planning.mlx.options import parse_server_options
from kvtop.planning.registry import plan_launch
from kvtop.planning.vllm.on_host import on_host
from kvtop.planning.vllm.options.parse import parse_serve_options
from kvtop.sources.demo import SCENARIOS, scenario
from kvtop.verbs.command_line import exit_codes
from kvtop.views.export.snapshot.formats import FORMATS, render
from tests.models.tiny_gguf import write_tiny_gguf
from tests.models.tiny_models import CONFIG, tiny_checkpoint
from tests.oracle.cases import load_architectures

VALUES: tuple[object, ...] = (
    *(None, "x", "", -1, 0, 1, 2, 7, 2**31, 2**32, 2**63, 2**70, 10**12, 0.0, 1.5, -0.5, 1e30, float("nan")),
    *(float("inf"), True, False, [], {}, [1, "a"], [None], {"a": 1}, [{"a": 1}], ["x"], [1, 2], "9" * 50),
    *("\x1b[31m", "full_attention", ["full_attention"] * 3, {"rope_type": "yarn", "factor": float("nan")}),
)
PLAIN = tuple(tuple(it) if isinstance(it, list) else it for it in VALUES if it is not None and not isinstance(it, dict))
SHAPES = ((), (0,), (1,), (32,), (32, 0), (2**40, 2**40), (7, 7, 7, 7), (256, 2))
NAMES = (
    "blk.",
    "blk.x.y",
    f"blk.{'9' * 30}.attn_q.weight",
    "blk.²",
    "",
    "blk.0",
    "output.weight",
    "blk.511.attn_k.weight",
)
CARD = PlanDevice("gpu0", 80 << 30, None, (9, 0), "cuda", "NVIDIA H100 80GB HBM3")
DEVICES: tuple[tuple[PlanDevice, ...], ...] = ((), (CARD,), (CARD, replace(CARD, name="gpu1")))


def changed(random: Random, values: Mapping[str, object], choices: tuple[object, ...] = VALUES) -> dict[str, object]:
    """These values with some of them gone, or odd, or odd inside."""
    found = dict(values)
    for _ in range(random.choice((1, 1, 2, 4))):
        name = random.choice(sorted(found)) if found else "x"
        value = found.get(name)
        if random.random() < 0.25:
            found.pop(name, None)
        elif isinstance(value, dict) and random.random() < 0.8:
            found[name] = changed(random, value, choices)
        elif isinstance(value, tuple | list) and value and random.random() < 0.5:
            cut = [*value[: random.randrange(len(value))], random.choice(choices)]
            found[name] = tuple(cut) if isinstance(value, tuple) else cut
        elif isinstance(value, int) and random.random() < 0.5:
            found[name] = random.choice((value + 1, value - 1, value * 2, value // 2, -value, value * 1000))
        else:
            found[name] = random.choice(choices)
    return found


def odd_tensors(random: Random, tensors: tuple[TensorInfo, ...]) -> tuple[TensorInfo, ...]:
    """These tensors with one of them gone, renamed, reshaped or retyped, or all of one name gone."""
    found = list(tensors)
    at = random.randrange(len(found))
    it = found[at]
    match random.randrange(6):
        case 0:
            found.pop(at)
        case 1:
            found[at] = replace(it, shape=random.choice(SHAPES))
        case 2:
            found[at] = replace(it, shape=tuple(random.choice((n, 0, 1, n * 2, n // 2)) for n in it.shape))
        case 3:
            found[at] = replace(it, name=random.choice(NAMES))
        case 4:
            found[at] = replace(it, type_id=99, type_name=None, size_bytes=random.choice((None, 0)))
        case _:
            found = [other for other in found if other.name.split(".")[-2:] != it.name.split(".")[-2:]]
    return tuple(found)


def odd_model(random: Random, model: ModelFile) -> ModelFile:
    if isinstance(model, Checkpoint):
        return replace(model, config=changed(random, model.config))
    what = random.random()
    metadata = changed(random, model.metadata, PLAIN) if what < 0.75 else dict(model.metadata)
    tensors = odd_tensors(random, model.tensors) if what > 0.5 and model.tensors else model.tensors
    return replace(model, metadata=metadata, tensors=tensors)  # type: ignore[arg-type]  # any values


def answer(ask: Callable[[], MemoryPlan | Refusal]) -> MemoryPlan | Refusal | NoExactRuleError:
    """A plan, a refusal, or one of the two exceptions that say why there is none; anything else is raised."""
    try:
        return ask()
    except NoExactRuleError as error:
        return error


LLAMACPP = [
    parse_llama_server(["-m", "x", *words.split()], {}, [])
    for words in (
        *("", "-c 8192 -np 2 -ctk q8_0 -fa on", "-ngl 3 -sm row", "--n-cpu-moe 2 -c 4096", "-fa off --swa-full"),
        *("-c 4096 -kvu -np 4", "--fit off -ot ffn_.*=CPU"),
    )
]
HEADERS = [it for it in load_architectures()[0].values() if len(it.tensors) < 400]


@settings(max_examples=300)
@given(randoms(use_true_random=False), sampled_from(LLAMACPP), sampled_from(DEVICES))
def test_every_malformed_gguf_is_said_to_be_one(
    random: Random, launch: LaunchOptions, devices: tuple[PlanDevice, ...]
) -> None:
    """Of every architecture that there is a rule for."""
    model = odd_model(random, random.choice(HEADERS))
    assert str(answer(lambda: plan_launch(launch, model, devices)))


def configs(name: str) -> list[dict[str, object]]:
    """Every config.json of a recorded oracle."""
    path = Path(__file__).parents[1] / "fixtures/oracle" / name
    with gzip.open(path, "rt", encoding="utf-8") as file:
        pending: list[object] = [json.load(file)]
    found = []
    while pending:
        value = pending.pop()
        if isinstance(value, dict) and ("model_type" in value or "architectures" in value):
            found.append(value)
        elif isinstance(value, dict | list):
            pending += value.values() if isinstance(value, dict) else value
    return found


CONFIGS = [config for name in ("vllm.json.gz", "vllm_more.json.gz", "mlx.json.gz") for config in configs(name)]
VLLM = [
    parse_serve_options(["DIR", *words])
    for words in (
        *([], ["--kv-cache-memory-bytes", "10000000000"], ["-tp", "2"], ["-pp", "2"], ["--kv-cache-dtype", "fp8"]),
        *(["--max-model-len", "4096"], ["--speculative-config", '{"method":"ngram","num_speculative_tokens":3}']),
        ["--hf-overrides", '{"num_hidden_layers":100000000}'],
    )
]
MLX = [
    parse_server_options(["--model", "x", *words]) for words in ([], ["--kv-bits", "4"], ["--prefill-step-size", "1"])
]


@settings(max_examples=300)
@given(
    randoms(use_true_random=False), sampled_from([*VLLM, *MLX]), sampled_from(DEVICES), sampled_from([None, 1, 4096])
)
def test_every_malformed_config_is_said_to_be_one(
    random: Random, launch: LaunchOptions, devices: tuple[PlanDevice, ...], at_tokens: int | None
) -> None:
    model = Checkpoint("DIR", changed(random, random.choice(CONFIGS)), (), None)
    assert str(answer(lambda: plan_launch(launch, model, devices, at_tokens=at_tokens)))
    if launch.engine == "vllm":
        assert str(answer(lambda: on_host(launch, model)))


def fails(*arguments: object, **named: object) -> object:
    """A mistake of kvtop's own."""
    return [][len(arguments) + len(named)]


OWN = {
    "llama.cpp": ("kvtop.planning.llamacpp.memory.prepared.weight_set", 0),
    "vllm": ("kvtop.planning.vllm.planner.group_layers", 2),
    "mlx": ("kvtop.planning.mlx.planner.activation_bytes", 2),
}


@pytest.mark.parametrize(("engine", "where"), OWN.items(), ids=OWN)
def test_kvtops_own_fault_is_never_told_as_the_files(
    engine: str, where: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"llama.cpp": LLAMACPP[0], "vllm": VLLM[0], "mlx": MLX[0]}[engine]
    model: ModelFile = HEADERS[0] if engine == "llama.cpp" else tiny_checkpoint()
    assert isinstance(plan_launch(options, model, (CARD,), at_tokens=16), MemoryPlan)
    monkeypatch.setattr(where[0], fails)
    with pytest.raises(IndexError):
        plan_launch(options, model, (CARD,), at_tokens=16)


def test_a_verb_says_so_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The review's mistake, `None + 1` in the middle of the rules, was told as the user's file or option."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    write_tiny_gguf(tmp_path / "m.gguf")
    command = ["--gpu", "24GiB", "--", "llama-server", "-m", str(tmp_path / "m.gguf")]
    assert main(["plan", *command]) == exit_codes.OK
    for error in (TypeError, ValueError, KeyError, AssertionError, ZeroDivisionError):

        def mistaken(*_: object, of: type[Exception] = error) -> None:
            raise of("told as the user's")

        monkeypatch.setattr("kvtop.planning.llamacpp.memory.prepared.weight_set", mistaken)
        for verb in ("plan", "recommend", "lint"):
            assert main([verb, *command]) == exit_codes.INTERNAL_ERROR, (verb, error)
            assert "a fault of kvtop, not of your files or options" in capsys.readouterr().err


def test_a_malformed_file_is_bad_input_and_a_model_without_a_rule_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.gguf"
    for architecture, code, words in (
        ("llama", exit_codes.USAGE, "malformed model file: key not found in model: llama."),
        ("t5", exit_codes.NO_RULE, "no exact rule: kvtop has no memory rule for llama.cpp architecture 't5'"),
    ):
        writer = gguf.GGUFWriter(path, architecture)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        for verb in ("plan", "recommend"):
            assert main([verb, "--gpu", "24GiB", "--", "llama-server", "-m", str(path)]) == code
            assert words in capsys.readouterr().err


def test_one_server_is_unexplained_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = scenario("shared_card").at(8.0)
    named = sample.servers[0].id

    def sometimes(reading: ServerReading, *others: Any) -> object:  # noqa: ANN401  whatever it takes
        return fails() if reading.id == named else cache_view(reading, *others)

    monkeypatch.setattr("kvtop.analysis.analyse.cache_view", sometimes)
    frame = analyse(History(), sample, "1")
    assert [view.reading.id for view in frame.servers] == [reading.id for reading in sample.servers]
    assert "internal error of kvtop (IndexError at" in frame.servers[0].plan_note
    assert all(view.plan is not None for view in frame.servers[1:])
    assert frame.failures[-1].source == f"server {named}"
    for form in FORMATS:
        assert render(frame, form)


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
    assert view.plan_note.startswith("the file has no tensor blk.0.attn_output, which its architecture needs")
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
