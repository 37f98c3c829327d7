"""Recordings that somebody else made, or made up: refused in words, never a crash."""

import os
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import zstandard

from kvtop.app.replay import frame_at, replayed
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.sample import Sample
from kvtop.sources.demo import SCENARIOS
from kvtop.sources.recordings.encoding import Info, encode_tick
from kvtop.sources.recordings.framing import FIRST_LINE, KEY_TICK, RecordingError, record_index
from kvtop.sources.recordings.framing import record as framed
from kvtop.sources.recordings.player import Player
from kvtop.sources.recordings.reader import MEMBER, Recording
from kvtop.sources.recordings.writer import KEY_EVERY_TICKS, RecordingWriter
from kvtop.views.export.snapshot.formats import FORMATS, render

Record = Callable[..., Path]


def written(path: Path, *samples: Sample) -> Recording:
    writer = RecordingWriter(path, Info("1", 1.0))
    for sample in samples:
        writer.write(sample)
    writer.close()
    return Recording(path)


def archive(path: Path, recording: Path, method: int) -> bytearray:
    with zipfile.ZipFile(path, "w", method) as target:
        target.write(recording, MEMBER)
    return bytearray(path.read_bytes())


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_is_refused_in_words(method: int, record: Record, tmp_path: Path) -> None:
    path = tmp_path / "r.zip"
    content = archive(path, record(SCENARIOS[0], 30), method)
    assert len(Recording(path)) == 30
    for start in range(40, 400, 30):
        path.write_bytes(
            content[:start] + bytes(byte ^ 0x55 for byte in content[start : start + 30]) + content[start + 30 :]
        )
        with pytest.raises(RecordingError, match=r"r\.zip: "):
            Recording(path)


@pytest.mark.parametrize(("local", "central", "value"), [(6, 8, 1), (8, 10, 99)], ids=["encrypted", "unknown method"])
def test_an_archive_nobody_can_open_is_refused(
    local: int, central: int, value: int, record: Record, tmp_path: Path
) -> None:
    path = tmp_path / "r.zip"
    content = archive(path, record(SCENARIOS[0], 5), zipfile.ZIP_DEFLATED)
    content[local] = content[content.index(b"PK\x01\x02") + central] = value
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=r"r\.zip: cannot be read: "):
        Recording(path)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_are_refused(number: float, tmp_path: Path) -> None:
    sample = SCENARIOS[0].at(3.0)
    for name, odd in (
        ("time", replace(sample, taken_at=number)),
        ("device", replace(sample, devices=(replace(sample.devices[0], utilization_ratio=number),))),
    ):
        with pytest.raises(RecordingError, match="a tick cannot be understood"):
            written(tmp_path / name, odd).sample(0)


@pytest.mark.parametrize("taken_at", [-1.0, 1e15, 1e308])
def test_times_of_no_calendar_are_refused(taken_at: float, tmp_path: Path) -> None:
    recording = written(tmp_path / "x", SCENARIOS[0].at(0.0), replace(SCENARIOS[0].at(1.0), taken_at=taken_at))
    assert recording.times[1] == recording.times[0]
    with pytest.raises(RecordingError, match="no time of any calendar"):
        recording.sample(1)


def unexplained(sample: Sample) -> Sample:
    """An option that no kvtop writes down so: the parser would have refused it."""
    server = sample.servers[0]
    assert server.launch is not None
    options = (*server.launch.options, LaunchOption("parallel", "no number", Origin.ARGV))
    return replace(sample, servers=(replace(server, launch=LaunchOptions("llama.cpp", options)),))


def test_an_option_that_no_engine_reads_is_no_plan_and_no_fault(tmp_path: Path) -> None:
    good, bad = SCENARIOS[0].at(0.0), unexplained(SCENARIOS[0].at(1.0))
    recording = written(tmp_path / "x", good, bad, SCENARIOS[0].at(2.0))
    (view,) = frame_at(recording, 1).servers
    assert (view.plan, view.plan_note) == (None, "the engine would refuse these options: stoi")
    assert frame_at(recording, 1).failures == bad.failures


def test_a_server_over_which_kvtop_fails_is_unexplained_and_the_rest_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("kvtop.analysis.analyse.verdict", lambda *_: list[str]()[0])
    recording = written(tmp_path / "x", SCENARIOS[0].at(0.0))
    frame = frame_at(recording, 0)
    (view,) = frame.servers
    assert "internal error of kvtop (IndexError at" in view.plan_note
    assert frame.failures[-1].source == f"server {view.reading.id}"
    assert "can be sent" in frame.failures[-1].remedy


async def test_a_damaged_first_tick_shows_the_next_one(record: Record) -> None:
    path = record(SCENARIOS[0], KEY_EVERY_TICKS + 5)
    content = bytearray(path.read_bytes())
    content[record_index(bytes(content), "x").ticks[0].offset + 5] ^= 0xFF
    path.write_bytes(content)
    recording = Recording(path)
    player = Player(recording, playing=False)
    async for frame in replayed(player)():
        assert frame.taken_at == recording.times[KEY_EVERY_TICKS], "reading can start again there"
        assert "is damaged" in player.problem
        break


def test_numbers_of_any_size_are_written_in_every_format(tmp_path: Path) -> None:
    tick = msgspec.msgpack.decode(encode_tick(SCENARIOS[0].at(3.0), {}))
    for number in (-1, 0, 2**63, -(2**63), 2**64 - 1):
        for place in ("used_bytes", "total_bytes", "free_bytes"):
            tick["devices"][0]["memory"][place] = number
        tick["devices"][0]["processes"][0]["used_bytes"] = number
        tick["servers"][0]["slots"][0]["used_tokens"] = number
        path = tmp_path / f"{number}.kvtop"
        path.write_bytes(FIRST_LINE + framed(KEY_TICK, 1.0, zstandard.compress(msgspec.msgpack.encode(tick))))
        frame = frame_at(Recording(path), 0)
        for wanted in FORMATS:
            assert render(frame, wanted)


def test_a_pipe_is_read_once(record: Record, tmp_path: Path) -> None:
    content, pipe = record(SCENARIOS[0], 10).read_bytes(), tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,), daemon=True)
    writer.start()
    assert len(Recording(pipe)) == 10
    writer.join(timeout=60)
