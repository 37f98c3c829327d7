"""What-ifs: every knob of every engine gives the numbers of a plan with the same options."""

import shlex
from collections.abc import Callable
from dataclasses import replace

import pytest

from kvtop.domain.answers.room import Fit, Room
from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.launch import LaunchOptions, Origin
from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.adjustments import Knob, knob_names, turn
from kvtop.planning.commands.command import parse_command
from kvtop.planning.commands.launch_command import Host, command_words, host_of, instruction
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.parse import parse_llama_server
from kvtop.planning.mlx.options import parse_server_options
from kvtop.planning.protocol.knobs import around, finer
from kvtop.planning.protocol.measured import Measured
from kvtop.planning.protocol.plan_context import PlanContext, PlannableModel
from kvtop.planning.registry import engine_rules, plan_launch
from kvtop.planning.vllm.options.parse import parse_serve_options
from kvtop.planning.what_if import compare
from kvtop.sources.demo.gguf_models import gemma3_27b, llama31_8b
from tests.amounts import size_of
from tests.models.tiny_models import tiny_checkpoint

GIB = 2**30
CARD = PlanDevice("gpu0", 24 * GIB, 24 * GIB)


def plan_context(model: PlannableModel, beyond_bytes: int = 0) -> PlanContext:
    return PlanContext(
        model,
        (CARD,),
        {"gpu0": Room(24 * GIB), "host": None},
        {"gpu0": beyond_bytes},
    )


CASES: dict[str, tuple[Callable[[list[str]], LaunchOptions], PlannableModel, list[str]]] = {
    "llama.cpp": (
        lambda words: parse_llama_server(words, {}),
        prepare(llama31_8b("/m.gguf")),
        ["-m", "/m.gguf", "-c", "16384", "-ub", "256"],
    ),
    "llama.cpp, windows": (
        lambda words: parse_llama_server(words, {}),
        prepare(gemma3_27b("/g.gguf")),
        ["-m", "/g.gguf", "-np", "2", "-fa", "on"],
    ),
    "vllm": (
        parse_serve_options,
        tiny_checkpoint(),
        ["/m", "--max-model-len", "4096", "--kv-cache-memory-bytes", "1G"],
    ),
    "vllm, measured": (parse_serve_options, tiny_checkpoint(), ["/m", "--max-model-len=4096"]),
    "mlx": (parse_server_options, tiny_checkpoint(), ["--model", "/m"]),
}


def plain(launch: LaunchOptions, model: PlannableModel, at_tokens: int | None) -> MemoryPlan | Refusal | None:
    try:
        return plan_launch(launch, model, (CARD,), at_tokens=at_tokens)
    except NoExactRuleError:
        return None


@pytest.mark.parametrize("name", CASES)
def test_every_dial_agrees_with_a_plan_of_the_command_it_tells(name: str) -> None:
    parse, model, words = CASES[name]
    base = parse(words)
    at_tokens = 2048 if base.engine == "mlx" else None
    now = plain(base, model, at_tokens)
    assert isinstance(now, MemoryPlan)
    moved = 0
    for knob in Knob:
        for step in (1, -1):
            what_if, plan = WhatIf(base, at_tokens=at_tokens), now
            for _ in range(4):
                following = turn(what_if, plan, knob, step)
                if following is None:
                    break
                what_if, moved = following, moved + 1
                found = compare(plan_context(model), now, what_if)
                typed = parse(list(command_words(base, what_if.changes, ["server", *words]))[1:])
                expected = plain(typed, model, what_if.at_tokens)
                if isinstance(expected, MemoryPlan):
                    assert isinstance(found.then, MemoryPlan)
                    assert found.then.devices == expected.devices
                    plan = found.then
                else:
                    assert found.then == expected
                    assert found.note
    assert moved >= 20


def test_only_what_the_change_touches_moves() -> None:
    base = parse_llama_server(["-m", "/m.gguf", "-c", "16384"], {})
    model = prepare(llama31_8b("/m.gguf"))
    now = plain(base, model, None)
    assert isinstance(now, MemoryPlan)
    half = turn(WhatIf(base), now, Knob.CONTEXT, -1)
    assert half is not None
    found = compare(plan_context(model, beyond_bytes=300), now, half)
    card = found.devices[0]
    moved = {segment for segment, figure in (card.then - card.now).parts if figure.value_bytes}
    assert Segment.KV_CACHE in moved
    assert not moved & {Segment.WEIGHTS, Segment.OUTPUT, Segment.RECURRENT}
    part = found.then.device("gpu0") if isinstance(found.then, MemoryPlan) else None
    assert part is not None
    assert (card.needed.value_bytes or 0) - 300 == (
        size_of(part, Segment.WEIGHTS)
        + size_of(part, Segment.KV_CACHE)
        + size_of(part, Segment.COMPUTE)
        + size_of(part, Segment.OUTPUT)
    )


def test_slots_stay_in_their_pool_and_the_pool_can_be_split() -> None:
    base = parse_llama_server(["-m", "/m.gguf", "-c", "16384"], {})
    model = prepare(llama31_8b("/m.gguf"))
    now = plain(base, model, None)
    more = turn(WhatIf(base), now if isinstance(now, MemoryPlan) else None, Knob.SLOTS, 1)
    assert more is not None
    then = compare(plan_context(model), None, more).then
    assert isinstance(then, MemoryPlan)
    assert then.context is not None
    assert (then.context.n_seq_max, then.context.kv_unified) == (5, True)
    split = turn(more, then, Knob.UNIFIED, 1)
    assert split is not None
    own = compare(plan_context(model), None, split).then
    assert isinstance(own, MemoryPlan)
    assert own.context is not None
    assert (own.context.n_seq_max, own.context.kv_unified) == (5, False)


def test_a_refusal_is_told_in_the_engines_words() -> None:
    base = parse_llama_server(["-m", "/m.gguf", "-fa", "off"], {})
    found = compare(plan_context(prepare(llama31_8b("/m.gguf"))), None, WhatIf(base).with_changes(cache_type_v="q8_0"))
    assert isinstance(found.then, Refusal)
    assert "quantized V cache requires flash_attn" in found.note
    assert found.devices == ()


def test_three_verdicts() -> None:
    base = parse_llama_server(["-m", "/m.gguf", "-c", "8192"], {})
    model = prepare(llama31_8b("/m.gguf"))
    needed = compare(plan_context(model), None, WhatIf(base)).devices[0].needed
    assert needed.value_bytes is not None
    assert needed.most_bytes is not None
    rooms = {Fit.FITS: needed.most_bytes, Fit.TOO_LARGE: needed.value_bytes - 1}
    if needed.value_bytes < needed.most_bytes:
        rooms[Fit.TIGHT] = needed.most_bytes - 1
    for fit, room_bytes in rooms.items():
        here = PlanContext(model, (CARD,), {"gpu0": Room(room_bytes)}, {})
        assert compare(here, None, WhatIf(base)).devices[0].fit is fit


def test_a_value_set_back_is_no_change() -> None:
    base = parse_llama_server(["-m", "/m.gguf", "-ctk", "q8_0"], {})
    assert WhatIf(base).with_changes(cache_type_k="f16").with_changes(cache_type_k="q8_0").changes == ()


@pytest.mark.parametrize(
    ("command", "changes", "expected"),
    [
        ("llama-server -m x -ctk q4_0 -c 4096", {"cache_type_k": "q8_0"}, "-m x -c 4096 --cache-type-k q8_0"),
        ("llama-server -m x --flash-attn off -kvu", {"flash_attn": "on"}, "-m x -kvu --flash-attn on"),
        ("llama-server -m x -kvu", {"kv_unified": "false"}, "-m x --no-kv-unified"),
        ("vllm serve m --max-model-len=4096 --x 1", {"max_model_len": "8192"}, "serve m --x 1 --max-model-len 8192"),
        ("mlx_lm.server --model m --kv-bits 4", {"kv_bits": None}, "--model m"),
    ],
)
def test_the_command_has_each_option_once(command: str, changes: dict[str, str | None], expected: str) -> None:
    words = shlex.split(command)
    read = parse_command(words)
    parsers = {"llama.cpp": lambda it: parse_llama_server(it, {}), "vllm": parse_serve_options}
    base = parsers.get(read.engine, parse_server_options)(list(read.words))
    changed = tuple((name.replace("_", "-"), value) for name, value in changes.items())
    assert shlex.join(command_words(base, changed, words)[1:]) == expected
    rules = engine_rules(base.engine)
    assert rules is not None
    assert len(rules.option_words(changed)) <= 2


def test_under_ollama_and_a_router_other_places_are_named() -> None:
    argv = ["/usr/lib/ollama/llama-server", "--model", "x", "-c", "16384", "-np", "4"]
    assert host_of(argv, None) is Host.OLLAMA
    assert host_of(["/opt/llama-server"], ["/opt/llama-server"]) is Host.ROUTER
    assert host_of(["/opt/llama-server"], ["/bin/bash"]) is Host.COMMAND
    base = parse_llama_server(argv[1:], {})
    changes = (("cache-type-k", "q8_0"), ("cache-type-v", "q8_0"), ("ctx-size", "32768"), ("flash-attn", "on"))
    told = instruction(Host.OLLAMA, base, changes, argv)
    assert told.text.split() == [
        "OLLAMA_KV_CACHE_TYPE=q8_0",
        "OLLAMA_CONTEXT_LENGTH=8192",
        "OLLAMA_FLASH_ATTENTION=1",
    ]
    mixed = instruction(Host.OLLAMA, base, (("cache-type-k", "q8_0"), ("ubatch-size", "64")), argv)
    assert mixed.text == ""
    assert len(mixed.notes) == 2
    pool = instruction(Host.OLLAMA, base, (("parallel", "5"), ("kv-unified", "true")), argv)
    assert pool.text.splitlines() == ["OLLAMA_CONTEXT_LENGTH=3276", "OLLAMA_NUM_PARALLEL=5"]
    assert pool.notes == ("Ollama has no setting for --kv-unified",)
    assert instruction(Host.OLLAMA, base, (("parallel", "5"), ("kv-unified", "false")), argv).notes == ()
    preset = instruction(Host.ROUTER, base, changes, argv)
    assert "ctx-size = 32768" in preset.text


def test_scales() -> None:
    assert [around("abc", at, 1) for at in "abc"] == ["b", "c", "a"]
    assert around("abc", "z", -1) == "c"
    assert finer(16384, 1, 256) == 18432
    assert finer(256, -1, 256) == 256
    assert Knob.FLASH not in knob_names("vllm")
    unknown = LaunchOptions("sglang")
    assert turn(WhatIf(unknown), None, Knob.CONTEXT, 1) is None
    assert WhatIf(unknown).with_changes(a_b="1").launch.options[0].origin is Origin.ARGV


def test_a_running_vllm_keeps_the_bytes_of_its_pool() -> None:
    words = ["/m", "--max-model-len", "4096", "--gpu-memory-utilization", "0.50"]
    base = parse_serve_options(words)
    model = tiny_checkpoint()
    rules, reported = engine_rules("vllm"), Measured(pool_blocks=5000)
    now = plan_launch(base, model, (CARD,), measured=reported)
    assert rules is not None
    assert isinstance(now, MemoryPlan)
    live, kept = WhatIf(base), rules.kept(reported, now)
    assert kept == Measured(pool_bytes=now.devices[0].memory.bytes_of(Segment.KV_CACHE))
    here = replace(plan_context(model), measured=kept)
    same = compare(here, now, live).then
    assert isinstance(same, MemoryPlan)
    assert same.vllm is not None
    assert same.vllm.num_gpu_blocks == 5000
    halved = compare(here, now, live.with_changes(kv_cache_dtype="fp8")).then
    assert isinstance(halved, MemoryPlan)
    assert halved.vllm is not None
    assert halved.vllm.num_gpu_blocks == 10000
    more = compare(here, now, live.with_changes(gpu_memory_utilization="0.51")).then
    assert isinstance(more, MemoryPlan)
    grown = (more.devices[0].memory.bytes_of(Segment.KV_CACHE) or 0) - (
        now.devices[0].memory.bytes_of(Segment.KV_CACHE) or 0
    )
    assert grown == pytest.approx(0.01 * 24 * GIB, rel=0.001)
    split = compare(here, now, live.with_changes(tensor_parallel_size="1", dtype="float16")).then
    assert isinstance(split, MemoryPlan)
    assert split.vllm is not None
    assert split.vllm.num_gpu_blocks is None


def test_a_server_of_llama_swap_is_changed_in_its_configuration() -> None:
    words = ("llama-server", "-m", "/m.gguf", "-c", "8192")
    assert host_of(words, ("/usr/local/bin/llama-swap", "--config", "x.yaml")) is Host.LLAMA_SWAP
    base = parse_llama_server(list(words[1:]), {})
    told = instruction(Host.LLAMA_SWAP, base, (("ctx-size", "4096"),), words)
    assert told.text == "cmd: llama-server -m /m.gguf --ctx-size 4096"
    assert "llama-swap" in told.where
    assert told.notes
