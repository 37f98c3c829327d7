"""Tokens per second from two readings."""

import pytest

from kvtop.analysis.usage.rates import generated_per_second, prompt_per_second
from kvtop.domain.engine_report import PoolReport
from kvtop.domain.server import Counters, ServerReading, ServerState, Slot


def reading(engine: str, generated: float | None = None, *decoded: int, prompt: float | None = None) -> ServerReading:
    slots = tuple(Slot(number, 4096, 10, True, tokens) for number, tokens in enumerate(decoded)) or None
    counters = Counters(prompt_tokens_total=prompt, generated_tokens_total=generated)
    pools = () if engine == "llama.cpp" else (PoolReport(capacity_tokens=4096),)
    return ServerReading("s", engine, ServerState.READY, slots=slots, counters=counters, pools=pools)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (reading("vllm", 100), reading("vllm", 160), 30),
        (reading("sglang", 0), reading("sglang", 0), 0),
        (reading("vllm", 100), reading("vllm", 20), None),  # it was restarted
        (reading("vllm"), reading("vllm", 20), None),
        # llama.cpp's counter stands still while a request runs.
        (reading("llama.cpp", 100), reading("llama.cpp", 160), None),
        (reading("llama.cpp", 100, 10, 50), reading("llama.cpp", 100, 30, 4), 12),
        (reading("llama.cpp", 100), reading("llama.cpp", 100, 30, 4), None),
    ],
)
def test_generated_tokens(before: ServerReading, now: ServerReading, expected: float | None) -> None:
    assert generated_per_second(before, now, 2.0) == expected


def test_no_time_passed_or_no_counter_is_unknown() -> None:
    before, now = reading("vllm", 1, prompt=5), reading("vllm", 2, prompt=25)
    assert (generated_per_second(before, now, 0), prompt_per_second(before, now, 0)) == (None, None)
    assert prompt_per_second(before, now, 2.0) == 10
    assert prompt_per_second(reading("vllm"), now, 2.0) is None
