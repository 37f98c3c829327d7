"""Recordings that somebody else made, or made up: refused in words, never a crash."""

import os
import subprocess
import sys
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
from kvtop.planning.registry import engine_rules
from kvtop.sources.demo import SCENARIOS
from kvtop.sources.recordings.encoding import Info, encode_tick
from kvtop.sources.recordings.framing import FIRST_LINE, KEY_TICK, MODEL, RecordingError, record_index
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


def bomb(path: Path, kind: int, content: bytes) -> Path:
    """A recording of one tick whose record of this kind unpacks to that."""
    tick = zstandard.ZstdCompressor().compress(encode_tick(SCENARIOS[0].at(0.0), {"m": 0}))
    packed = zstandard.ZstdCompressor(level=19).compress(content)
    first, second = (packed, tick) if kind == MODEL else (None, packed)
    records = [] if first is None else [framed(MODEL, 1.0, first)]
    path.write_bytes(FIRST_LINE + b"".join((*records, framed(KEY_TICK, 1.0, second))))
    return path


EMPTY_LISTS = b"\xdd" + (60_000_000).to_bytes(4, "big") + b"\x90" * 60_000_000


def peak_bytes_of(work: str, path: Path) -> int:
    """The most memory of a process that does this with a recording and gets a sentence."""
    script = f"""
import resource, sys
from pathlib import Path
from kvtop.sources.recordings.framing import RecordingError
from kvtop.sources.recordings.reader import Recording
try:
    {work}
except RecordingError as error:
    print(error, file=sys.stderr)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert "more than" in done.stderr, done.stderr
    return int(done.stdout)


def test_a_small_file_does_not_fill_the_memory(tmp_path: Path) -> None:
    """The review's files of 7 and 25 KB took 3.7 and 2.3 GB, an archive of one megabyte 2.1 GB."""
    sample = "Recording(Path(sys.argv[1])).sample(0)"
    tick = bomb(tmp_path / "tick.kvtop", KEY_TICK, EMPTY_LISTS)
    model = bomb(tmp_path / "model.kvtop", MODEL, EMPTY_LISTS)
    zipped = tmp_path / "report.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(MEMBER, FIRST_LINE + bytes(200 << 20))
    for path in (tick, model, zipped):
        assert path.stat().st_size < 2 << 20
        assert peak_bytes_of(sample, path) < 1 << 30, path


def test_what_no_reader_takes_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RecordingWriter(tmp_path / "x", Info("1", 1.0))
    writer.write(SCENARIOS[0].at(0.0))
    (server, *_) = SCENARIOS[0].at(1.0).servers
    with pytest.raises(RecordingError, match="64 bits"):
        writer.write(replace(SCENARIOS[0].at(1.0), servers=(replace(server, slot_count=2**70),)))
    assert len(Recording(tmp_path / "x")) == 1
    monkeypatch.setattr("kvtop.sources.recordings.writer.TICK_LIMIT_BYTES", 10)
    with pytest.raises(RecordingError, match="more than 10 bytes"):
        RecordingWriter(tmp_path / "y", Info("1", 1.0)).write(SCENARIOS[0].at(1.0))


def test_a_recording_that_is_cut_while_it_is_played_is_a_sentence(record: Record) -> None:
    """A memory map would end the process here (SIGBUS)."""
    path = record(SCENARIOS[0], 60)
    recording = Recording(path)
    os.truncate(path, 200)
    with pytest.raises(RecordingError, match="damaged"):
        recording.sample(50)


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
    assert view.plan is None
    newest = engine_rules("llama.cpp")
    assert newest is not None
    rules = f"llama.cpp {newest.traits.checked_version}"
    assert view.plan_note == f"its options have no plan under the rules of {rules}: stoi"
    assert frame_at(recording, 1).failures == bad.failures


def test_a_server_over_which_kvtop_fails_is_unexplained_and_the_rest_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("kvtop.analysis.analyse.cache_view", lambda *_: list[str]()[0])
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
