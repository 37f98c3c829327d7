from dataclasses import replace

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.frame import Frame
from kvtop.sources.demo import scenario
from kvtop.views.text.plain_lines import MEMORY_STEP, Announcer, in_whole_words


def frames(name: str, *seconds: int) -> list[Frame]:
    history, host = History(), scenario(name)
    taken = {second: analyse(history, host.at(float(second)), "0.1.0") for second in range(max(seconds) + 1)}
    return [taken[second] for second in seconds]


def announced(*shown: Frame) -> list[list[str]]:
    """What one listener hears of these frames, frame by frame."""
    announcer = Announcer()
    return [list(announcer.lines(frame)) for frame in shown]


def with_memory(frame: Frame, device: int, used_ratio: float) -> Frame:
    view = frame.devices[device]
    memory = view.device.memory
    assert memory.total_bytes is not None
    changed = replace(memory, used_bytes=round(memory.total_bytes * used_ratio))
    views = list(frame.devices)
    views[device] = replace(view, device=replace(view.device, memory=changed))
    return replace(frame, devices=tuple(views))


def test_first_everything_then_nothing_without_a_change() -> None:
    (frame,) = frames("rtx4090_llamacpp", 8)
    first, then = announced(frame, replace(frame, taken_at=frame.taken_at + 1))
    assert first[:2] == [
        "DEMO: this host is invented; nothing in here was measured.",
        "Host workstation: 2 devices, 1 server.",
    ]
    assert any(
        line.startswith("Device gpu0, NVIDIA GeForce RTX 4090: ") and "of 24.0 gibibytes used" in line for line in first
    )
    assert any(line.startswith("Server 127.0.0.1:8080, llama.cpp, gemma-3-27b") for line in first)
    assert all(line.endswith(".") and line.isascii() and "?" not in line for line in first)
    assert then == []


def test_a_filling_cache_is_announced_in_steps() -> None:
    told = [line for lines in announced(*frames("rtx4090_llamacpp", *range(8, 110)))[1:] for line in lines]
    servers = [line for line in told if line.startswith("Server ")]
    assert 1 <= len(servers) <= 6
    assert any("KV cache at most 7" in line for line in servers)


def test_memory_that_moves_to_and_fro_is_read_once_and_a_whole_step_again() -> None:
    """Every step is measured from what was announced last: a boundary between two steps would be crossed for ever."""
    (frame,) = frames("rtx4090_llamacpp", 8)
    start = 0.50
    moves = [
        start,
        start + 0.01,
        start - 0.01,
        start + MEMORY_STEP - 0.001,
        start,
        start + MEMORY_STEP + 0.001,
        start + 0.01,
    ]
    heard = announced(*(with_memory(frame, 1, ratio) for ratio in moves))
    assert [len(lines) for lines in heard[1:]] == [0, 0, 0, 0, 1, 0]
    assert heard[5][0].startswith("Device host, host memory: ")


def test_a_finding_is_announced_once_while_it_holds() -> None:
    shown = frames("rtx4090_llamacpp", *range(8, 60))
    lines = [line for heard in announced(*shown) for line in heard]
    (code,) = {it.code for frame in shown for view in frame.servers for it in view.findings if "%" in it.message}
    assert sum(f"warning {code}:" in line for line in lines) == 1
    server = shown[-1].servers[0]
    silent = replace(shown[-1], servers=(replace(server, findings=()),))
    assert f"Finding {code} on {server.reading.id} no longer holds." in announced(shown[-1], silent)[1]


def test_a_lost_card_is_announced() -> None:
    _, after = announced(*frames("gpu_lost", 2, 4))
    assert any(line.startswith("Device gpu0") and "lost" in line for line in after)


def test_what_goes_and_what_fails_is_announced() -> None:
    (frame,) = frames("cpu_only", 8)
    first, gone = announced(frame, replace(frame, servers=(), failures=()))
    assert "Server 127.0.0.1:8081 is gone." in gone
    assert "nvml can be read again." in gone
    assert any(line.startswith("Could not read nvml: ") for line in first)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("3.61 GiB of 64.0 GiB used", "3.61 gibibytes of 64.0 gibibytes used"),
        ("full in 1m58s, KV cache", "full in 1 minute 58 seconds, KV cache"),
        ("full in 2h", "full in 2 hours"),
        ("gemma3-270m is in 1Mx form, 12 B left in 3x", "gemma3-270m is in 1Mx form, 12 B left in 3x"),
    ],
)
def test_units_are_words(written: str, spoken: str) -> None:
    assert in_whole_words(written) == spoken
