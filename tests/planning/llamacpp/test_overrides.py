"""`--override-kv` as llama-server b11434 takes it: every value here was held against the program."""

import pytest

from kvtop.domain.plan import MemoryPlan, Refusal
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.overrides import overridden_header, overrides_of
from kvtop.planning.llamacpp.options.parse import parse_llama_server, settings_of
from kvtop.planning.registry import plan_launch
from tests.oracle.cases import Oracle

WINDOW = "gemma3.attention.sliding_window"


def _plan(oracle: Oracle, *words: str, ready: bool) -> MemoryPlan:
    header = oracle.headers["gemma-3-270m"]
    launch = parse_llama_server(["-m", "x.gguf", "-fit", "off", *words], {}, [])
    answer = plan_launch(launch, prepare(header) if ready else header, ())
    assert isinstance(answer, MemoryPlan), answer
    return answer


@pytest.mark.parametrize("ready", [False, True])
def test_overrides_change_the_plan(oracle: Oracle, ready: bool) -> None:
    shorter = _plan(oracle, "--override-kv", "gemma3.context_length=int:8192", ready=ready)
    assert shorter.context is not None
    assert shorter.context.n_ctx == 8192
    plain = _plan(oracle, "-c", "8192", ready=ready)
    wider = _plan(oracle, "-c", "8192", "--override-kv", f"{WINDOW}=int:2048", ready=ready)
    parts = {part.kind: part.cells for part in wider.cache_parts}
    assert parts == {"full": 8192, "sliding_window": 8192}
    assert {part.kind: part.cells for part in plain.cache_parts} == {"full": 8192, "sliding_window": 2560}


def test_the_first_of_several_for_a_key_counts_and_another_type_does_not(oracle: Oracle) -> None:
    header = oracle.headers["gemma-3-270m"]
    twice = overridden_header(header, f"{WINDOW}=int:7,{WINDOW}=int:9")
    assert twice.metadata[WINDOW] == 7
    assert overridden_header(header, f"{WINDOW}=float:7").metadata[WINDOW] == header.metadata[WINDOW]
    assert overridden_header(header, f"{WINDOW}=float:7,{WINDOW}=int:9").metadata[WINDOW] == header.metadata[WINDOW]
    assert overridden_header(header, None) is header


def test_values_are_converted_as_in_c() -> None:
    assert overrides_of('a=int:4k,b=float:1.5x,c=bool:true,d=str:x=y,"e=str:1,2"') == (
        ("a", 4),
        ("b", 1.5),
        ("c", True),
        ("d", "x=y"),
        ("e", "1,2"),
    )
    assert overrides_of("a=int:none,b=int:-1") == (("a", 0), ("b", 2**32 - 1))


@pytest.mark.parametrize("text", ["foo", "a=8192", "a=bool:yes", "a=u32:5", f"a=str:{'x' * 128}", "a=int:1,"])
def test_what_the_engine_refuses_is_its_refusal(text: str) -> None:
    settings = settings_of(parse_llama_server(["-m", "x.gguf", "--override-kv", text], {}, []))
    bad = text.rpartition(",")[2]
    where = 'error while handling argument "--override-kv": error: Invalid type for KV override: '
    assert settings == Refusal("llama.cpp", where + bad)
