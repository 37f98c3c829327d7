"""What llama-fit-params is asked, and what its lines mean."""

import pytest

from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.llamacpp.fit.fit_params import ToolRow, comparable, compare, parse_tool_output, tool_arguments
from kvtop.planning.llamacpp.options.parse import parse_llama_server, settings_of
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from tests.oracle.cases import Oracle


def test_only_what_both_know_is_passed_on() -> None:
    options = parse_llama_server(
        ["-m", "a.gguf", "-c", "4096", "-kvu", "--port", "1", "-nkvo", "--swa-full", "-ot", "x=CPU", "--api-key", "k"],
        {},
    )
    assert tool_arguments(options, "/models/a.gguf", without_devices=True) == [
        *("-m", "/models/a.gguf", "--ctx-size", "4096", "--swa-full", "--no-kv-offload", "--override-tensor", "x=CPU"),
        *("--device", "none", "--parallel", "1", "--no-repack", "--fit-print", "on"),
    ]


def test_a_device_that_was_named_stays() -> None:
    options = parse_llama_server(["-dev", "CUDA1"], {})
    words = tool_arguments(options, "a", without_devices=True)
    assert words[words.index("--device") + 1] == "CUDA1"
    assert words.count("--device") == 1


def test_rows_of_a_real_answer() -> None:
    text = "CUDA0 178 27 120 \nVulkan 1 2 3 4\nHost 222 27 524 \n\n-c 4096 -ngl -1\n"
    assert parse_tool_output(text) == (
        ToolRow("CUDA0", 178, 27, 120),
        ToolRow("Vulkan 1", 2, 3, 4),
        ToolRow("Host", 222, 27, 524),
    )


def test_a_recorded_answer_of_the_tool_is_met(oracle: Oracle) -> None:
    # llama-fit-params b11434 -m gemma-3-270m-q4_k_m.gguf -c 32768 -ctk q8_0 --no-repack -fitp on, without a device.
    rows = parse_tool_output("Host 235 84 551 \n")
    settings = settings_of(parse_llama_server(["-c", "32768", "-ctk", "q8_0", "-np", "4", "-kvu"], {}))
    assert isinstance(settings, LlamaSettings)
    planned = plan(oracle.headers["gemma-3-270m"], comparable(settings), ())
    assert isinstance(planned, MemoryPlan)
    checks = compare(planned, rows)
    assert [(check.device, check.planned_mib, check.agrees) for check in checks] == [
        ("host", 235, True),
        ("host", 84, True),
    ]
    assert not compare(planned, parse_tool_output("Host 234 84 551"))[0].agrees


def test_another_number_of_devices_is_no_comparison(oracle: Oracle) -> None:
    planned = plan(oracle.headers["gemma-3-270m"], LlamaSettings(), (PlanDevice("gpu0", 1 << 34),))
    assert isinstance(planned, MemoryPlan)
    with pytest.raises(ValueError, match="0 devices, the plan has 1"):
        compare(planned, parse_tool_output("Host 1 2 3"))
