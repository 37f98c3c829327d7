"""Work on a stranger's values has limits, and neither keys nor signals wait for it."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from kvtop.analysis import analyse as analysis
from kvtop.analysis.analyse import History, analyse
from kvtop.app.frames import analysed_aside, frames
from kvtop.domain.answers.fault import LimitExceededError
from kvtop.domain.frame import Frame, ServerView
from kvtop.domain.sample import Sample
from kvtop.io import daemon_thread, limits
from kvtop.io.limits import limited
from kvtop.sources.demo import scenario

Explain = Callable[..., ServerView]


def turning() -> None:
    """Work without an end, as planning 10**30 tokens is; an `except Exception` on the way."""
    while True:
        with contextlib.suppress(Exception):  # the limit must pass through it
            sum(range(1000))


def filling() -> None:
    held = []
    while True:
        held.append(bytearray(1 << 20))
        time.sleep(0.001)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SECONDS", 0.3)


@pytest.mark.usefixtures("short")
def test_work_that_takes_too_long_is_ended() -> None:
    started = time.monotonic()
    with pytest.raises(LimitExceededError, match="more than"):
        limited(turning)
    assert time.monotonic() - started < 20
    assert limited(lambda: 5) == 5


def test_work_that_takes_too_much_memory_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    if not limits.resident_bytes():
        pytest.skip("the resident set cannot be read here")
    monkeypatch.setattr(limits, "MEMORY_BYTES", 32 << 20)
    monkeypatch.setattr(limits, "SECONDS", 60.0)
    with pytest.raises(LimitExceededError, match="MiB"):
        limited(filling)


@pytest.mark.usefixtures("short")
def test_a_limit_arrives_in_no_later_work() -> None:
    for _ in range(200):
        assert limited(lambda: time.sleep(0.001)) is None
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        sum(range(1000))


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of servers that were explained; the second of them never ends."""
    asked: list[str] = []
    real: Explain = analysis._server_view

    def explain(history: History, reading: object, *rest: object) -> ServerView:
        name = str(getattr(reading, "id", ""))
        asked.append(name)
        if name.startswith("hostile"):
            turning()
        return real(history, reading, *rest)

    monkeypatch.setattr(analysis, "_server_view", explain)
    return asked


def two_servers() -> Sample:
    sample = scenario("rtx4090_llamacpp").at(8.0)
    one = sample.servers[0]
    return replace(sample, servers=(replace(one, id="hostile:1"), one))


@pytest.mark.usefixtures("short")
def test_a_server_that_takes_too_much_is_said_and_the_others_are_explained(hostile: list[str]) -> None:
    analyse(History(), replace(two_servers(), servers=two_servers().servers[1:]), "0")  # imports the rules
    hostile.clear()
    history = History(limited=limited)
    frame = analyse(history, two_servers(), "0")
    assert [bool(view.splits) for view in frame.servers] == [False, True]
    assert "could not be explained" in frame.servers[0].plan_note
    (failure,) = (it for it in frame.failures if it.source == "server hostile:1")
    assert "more than" in failure.message
    asked = len(hostile)
    again = analyse(history, two_servers(), "0")
    assert hostile[asked:] == [frame.servers[1].reading.id], "the same again takes as much again"
    assert again.servers[0].plan_note == frame.servers[0].plan_note


@pytest.mark.usefixtures("hostile")
def test_the_loop_goes_on_while_a_server_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SECONDS", 1.5)
    late: list[float] = []

    async def samples() -> "object":
        yield two_servers()

    async def beat() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            late.append(time.monotonic() - before - 0.01)

    async def watched() -> Frame:
        beating = asyncio.create_task(beat())
        async for frame in frames(samples)():  # type: ignore[arg-type]
            beating.cancel()
            return frame
        raise AssertionError("no frame")

    frame = asyncio.run(watched())
    assert "could not be explained" in frame.servers[0].plan_note
    assert len(late) > 10
    assert sorted(late)[len(late) // 2] < 0.2


def test_a_machine_without_threads_still_explains(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise daemon_thread.NoThreadError

    monkeypatch.setattr(daemon_thread, "started", refuse)
    frame = asyncio.run(analysed_aside(History(), scenario("rtx4090_llamacpp").at(8.0)))
    assert frame.servers
