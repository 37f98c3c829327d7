from dataclasses import replace
from itertools import pairwise

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.frame import Frame
from kvtop.sources.demo import scenario
from kvtop.views.text.plain_lines import plain_lines


def frames(name: str, *seconds: int) -> list[Frame]:
    history, host = History(), scenario(name)
    taken = {second: analyse(history, host.at(float(second)), "0.1.0") for second in range(max(seconds) + 1)}
    return [taken[second] for second in seconds]


def test_first_everything_then_nothing_without_a_change() -> None:
    (frame,) = frames("rtx4090_llamacpp", 8)
    first = list(plain_lines(None, frame))
    assert first[:2] == [
        "DEMO: this host is invented; nothing in here was measured.",
        "Host workstation: 2 devices, 1 server.",
    ]
    assert any(
        line.startswith("Device gpu0, NVIDIA GeForce RTX 4090: ") and "of 24.0 GiB used" in line for line in first
    )
    assert any(line.startswith("Server 127.0.0.1:8080, llama.cpp, gemma-3-27b") for line in first)
    assert all(line.endswith(".") and line.isascii() and "?" not in line for line in first)
    assert list(plain_lines(frame, replace(frame, taken_at=frame.taken_at + 1))) == []


def test_a_filling_cache_is_told_in_steps() -> None:
    shown = frames("rtx4090_llamacpp", *range(8, 60))
    told = [line for one, next_ in pairwise(shown) for line in plain_lines(one, next_)]
    servers = [line for line in told if line.startswith("Server ")]
    assert 1 <= len(servers) <= 6
    assert any("KV cache at most 8" in line for line in servers)


def test_a_lost_card_is_told() -> None:
    before, after = frames("gpu_lost", 2, 4)
    assert any(line.startswith("Device gpu0") and "lost" in line for line in plain_lines(before, after))


def test_what_goes_and_what_fails_is_told() -> None:
    (frame,) = frames("cpu_only", 8)
    gone = list(plain_lines(frame, replace(frame, servers=(), failures=())))
    assert "Server 127.0.0.1:8081 is gone." in gone
    assert "nvml can be read again." in gone
    assert any(line.startswith("Could not read nvml: ") for line in plain_lines(None, frame))
