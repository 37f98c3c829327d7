"""What a real llama-server said to command lines, environments and files made at random: word for word the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from kvtop.domain.launch import Origin
from kvtop.planning.llamacpp.options.parse import parse_llama_server
from tests.oracle.every_case import Answer, EveryCase

RECORDED = Path(__file__).parents[2] / "fixtures" / "options" / "refusals.jsonl"


class Case(TypedDict):
    """One line of the recording; `refusal` "" where the program accepted everything."""

    argv: list[str]
    environ: dict[str, str]
    config_ini: str
    refusal: str


def _cases() -> list[Case]:
    return [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]


def _answers(case: Case) -> Iterator[Answer]:
    files = [("D/llama.cpp/config.ini", case["config_ini"])] if case["config_ini"] else []
    options = parse_llama_server(case["argv"], case["environ"], files, strict=True)
    yield f"first complaint of {case['argv']}", options.errors[0] if options.errors else "", case["refusal"]


def test_the_first_complaint_is_the_programs_own(every_case: EveryCase) -> None:
    every_case({f"line-{line}": case for line, case in enumerate(_cases(), 1)}, _answers)


def test_the_recording_holds_refusals_of_every_origin_and_acceptances() -> None:
    cases = _cases()
    assert len(cases) >= 400
    assert sum("environment variable" in case["refusal"] for case in cases) >= 20
    assert sum('argument "' in case["refusal"] for case in cases) >= 100
    assert sum(case["refusal"] == "" for case in cases) >= 80
    assert sum(bool(case["config_ini"]) and "error while" not in case["refusal"] for case in cases) >= 50


def test_files_go_by_spellings_and_sections() -> None:
    text = "c = 1\nctx-size = 2\nflash_attn = off\n[other]\nparallel = 9\n[*]\nswa-full = no\nno-kv-offload = true\n"
    options = parse_llama_server([], {}, [("a.ini", text)])
    # Of two spellings the later in the alphabet counts; an underscore is no dash; a flag can only be switched on.
    assert options.value("ctx-size") == "2"
    assert options.unknown == ("a.ini: flash_attn",)
    assert options.value("parallel") is None
    assert options.value("swa-full") == "true"
    assert options.value("kv-offload") == "false"
    found = options.get("ctx-size")
    assert found is not None
    assert (found.origin, found.detail) == (Origin.FILE, "a.ini")


def test_variables_by_their_own_rules() -> None:
    environ = {"LLAMA_ARG_SWA_FULL": "0", "LLAMA_ARG_KV_OFFLOAD": "1", "LLAMA_ARG_NO_KV_OFFLOAD": ""}
    options = parse_llama_server([], environ)
    assert options.value("swa-full") is None
    assert options.value("kv-offload") == "false"


def test_shorthands_stand_for_their_options_and_give_way_to_later_ones() -> None:
    options = parse_llama_server(["--gpt-oss-20b-default", "-c", "8192"], {})
    assert options.value("hf-repo") == "ggml-org/gpt-oss-20b-GGUF"
    assert (options.value("ctx-size"), options.value("parallel"), options.value("ubatch-size")) == ("8192", "2", "2048")
    before = parse_llama_server(["-c", "8192", "--gpt-oss-20b-default"], {})
    assert before.value("ctx-size") == "262144"


def test_overrides_add_up_over_all_origins() -> None:
    environ = {"LLAMA_ARG_OVERRIDE_TENSOR": "a=CPU", "LLAMA_ARG_N_CPU_MOE": "8"}
    options = parse_llama_server(["-ot", "b=CPU", "-ncmoe", "3"], environ)
    assert options.value("override-tensor") == "a=CPU,b=CPU"
    assert options.value("n-cpu-moe") == "8"


def test_strictness_is_for_commands_yet_to_start() -> None:
    running = parse_llama_server(["--brand-new", "-c", "4096"], {})
    assert (running.errors, running.unknown) == ((), ("--brand-new",))
    planned = parse_llama_server(["--brand-new", "-c", "4096"], {}, strict=True)
    assert planned.errors == ("error: invalid argument: --brand-new",)
