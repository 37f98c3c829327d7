"""What was measured comes back as it was, from whole files and from broken ones."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import zstandard

from kvtop.sources.demo import SCENARIOS, Scenario
from kvtop.sources.recordings.encoding import Info, encode_tick
from kvtop.sources.recordings.framing import FIRST_LINE, HEAD, INFO, KEY_TICK, RecordingError, record_index, rising
from kvtop.sources.recordings.framing import record as framed
from kvtop.sources.recordings.reader import Recording
from kvtop.sources.recordings.writer import KEY_EVERY_TICKS, RecordingWriter

Record = Callable[..., Path]
FIXTURE = Path(__file__).parents[2] / "fixtures" / "recordings" / "rtx4090-1.0.kvtop"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda it: it.name)
def test_every_scenario_comes_back_in_any_order(scenario: Scenario, record: Record) -> None:
    recording = Recording(record(scenario, 300))
    assert len(recording) == 300
    assert recording.info == Info("1.2.3", 1.0)
    assert recording.note == ""
    order = [0, 299, 5, 6, 7, 6, KEY_EVERY_TICKS - 1, KEY_EVERY_TICKS, KEY_EVERY_TICKS + 1, 0]
    for index in (*order, *random.Random(1).sample(range(300), 60)):
        assert recording.sample(index) == scenario.at(float(index)), index


def test_models_are_one_object_for_all_ticks(record: Record) -> None:
    recording = Recording(record(SCENARIOS[0], 200))
    first, last = recording.sample(0), recording.sample(199)
    assert all(first.models[key] is last.models[key] for key in first.models)


@pytest.mark.parametrize("scenario", [it for it in SCENARIOS if it.at(0.0).servers], ids=lambda it: it.name)
def test_a_tick_costs_at_most_400_bytes_a_server(scenario: Scenario, record: Record) -> None:
    servers = len(scenario.at(0.0).servers)
    assert record(scenario, 900).stat().st_size <= 400 * 900 * servers


def test_a_file_cut_anywhere_gives_every_whole_tick(record: Record) -> None:
    path = record(SCENARIOS[0], KEY_EVERY_TICKS + 20)
    content = path.read_bytes()
    ends = [place.offset + place.length for place in record_index(content, "x").ticks]
    lengths = random.Random(2).sample(range(ends[0], len(content)), 60)
    for length in (*lengths, *ends[-3:], *(end - 1 for end in ends[-3:]), *(end + 5 for end in ends[-3:-1])):
        path.write_bytes(content[:length])
        recording = Recording(path)
        whole = sum(end <= length for end in ends)
        assert len(recording) == whole
        assert recording.sample(whole - 1) == SCENARIOS[0].at(float(whole - 1))
        assert bool(recording.note) == (length not in ends)


def test_a_damaged_tick_costs_its_stream_and_no_more(record: Record) -> None:
    path = record(SCENARIOS[0], 3 * KEY_EVERY_TICKS)
    content = bytearray(path.read_bytes())
    hit = record_index(bytes(content), "x").ticks[KEY_EVERY_TICKS + 10]
    content[hit.offset + hit.length // 2] ^= 0x40
    path.write_bytes(content)
    recording = Recording(path)
    for index in (0, KEY_EVERY_TICKS + 9, 2 * KEY_EVERY_TICKS, 3 * KEY_EVERY_TICKS - 1):
        assert recording.sample(index) == SCENARIOS[0].at(float(index))
    for index in (KEY_EVERY_TICKS + 10, KEY_EVERY_TICKS + 11):
        with pytest.raises(RecordingError, match=f"tick {KEY_EVERY_TICKS + 10} is damaged"):
            recording.sample(index)


def test_any_damage_is_an_error_and_never_a_crash(record: Record) -> None:
    path = record(SCENARIOS[0], 40)
    content = path.read_bytes()
    chance = random.Random(3)
    problems: list[str] = []
    for _ in range(150):
        broken = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        path.write_bytes(broken)
        try:
            recording = Recording(path)
        except RecordingError:
            continue
        for index in range(len(recording)):
            try:
                recording.sample(index)
            except RecordingError as error:
                problems.append(str(error))
    assert problems
    assert all(str(path) in problem for problem in problems)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"kvtop.recording/2.0\n", "format 2.0; this kvtop reads format 1: upgrade kvtop"),
        (b"kvtop.recording/0.9\n", "format 0.9; this kvtop reads format 1"),
        (b"", "not a kvtop recording"),
        (b"\x89PNG\r\n", "not a kvtop recording"),
        (FIRST_LINE, "holds no tick"),
        (b"PK\x03\x04 not a zip", "cannot be read"),
    ],
)
def test_other_files_are_refused_in_words(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=words) as caught:
        Recording(path)
    assert str(path) in str(caught.value)


def test_what_a_later_minor_version_adds_is_skipped(tmp_path: Path) -> None:
    sample = SCENARIOS[0].at(3.0)
    tick = msgspec.msgpack.decode(encode_tick(sample, {}))
    tick["weather"] = {"rain": True}
    tick["servers"][0]["mood"] = [1, 2]
    tick["devices"][0]["memory"]["bank"] = "x"
    packed = zstandard.compress(msgspec.msgpack.encode(tick))
    path = tmp_path / "later.kvtop"
    line = FIRST_LINE.replace(b".0\n", b".7\n")
    path.write_bytes(line + framed(ord("?"), 0.0, b"news") + framed(KEY_TICK, sample.taken_at, packed))
    again = Recording(path).sample(0)
    assert (again.servers, again.devices) == (sample.servers, sample.devices)


def test_a_recording_of_the_first_release_can_be_read_for_ever() -> None:
    recording = Recording(FIXTURE)
    assert len(recording) == 150
    sample = recording.sample(140)
    assert sample.host == "workstation"
    assert sample.servers[0].slots is not None
    assert sample.servers[0].model_key in sample.models


def test_a_tick_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.kvtop"
    packed = zstandard.ZstdCompressor(level=19).compress(bytes(300 * 1024 * 1024))
    assert len(packed) < 100_000
    path.write_bytes(FIRST_LINE + framed(KEY_TICK, 1.0, packed))
    with pytest.raises(RecordingError, match="unpacks to more than"):
        Recording(path).sample(0)


def test_texts_of_a_stranger_are_cleaned(tmp_path: Path) -> None:
    sample = SCENARIOS[0].at(3.0)
    tick = msgspec.msgpack.decode(encode_tick(sample, {}))
    tick["host"] = "\x1b]0;owned\x07" + "x" * 10_000
    tick["failures"] = [{"source": "http://u:hunter2@h/", "message": "\u202e hf_abcdefghij0123456789", "remedy": ""}]
    path = tmp_path / "strange.kvtop"
    packed = zstandard.compress(msgspec.msgpack.encode(tick))
    path.write_bytes(FIRST_LINE + framed(INFO, 0.0, b"\xff") + framed(KEY_TICK, 1.0, packed))
    recording = Recording(path)
    assert recording.info is None
    shown = repr(recording.sample(0))
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert "\\x1b" not in shown
    assert "hunter2" not in shown
    assert "hf_abc" not in shown
    assert len(shown) < 20_000


def test_the_largest_size_is_kept(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "small.kvtop", Info("1", 1.0), max_bytes=8000)
    written = [writer.write(SCENARIOS[0].at(float(second))) for second in range(500)]
    assert writer.is_full
    assert written.index(False) == sum(written) == writer.ticks
    assert writer.path.stat().st_size <= 8000
    assert len(Recording(writer.path)) == writer.ticks


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "x.kvtop"
    path.write_bytes(b"mine")
    with pytest.raises(RecordingError, match="File exists"):
        RecordingWriter(path, Info("1", 1.0))
    assert path.read_bytes() == b"mine"
    assert HEAD.size == 17


def test_a_clock_that_is_set_back_does_not_break_seeking(tmp_path: Path) -> None:
    path = tmp_path / "back.kvtop"
    writer = RecordingWriter(path, Info("1", 1.0))
    for second in (0.0, 1.0, 2.0, -3600.0, -3599.0, 3.0):
        writer.write(SCENARIOS[0].at(second))
    writer.close()
    recording = Recording(path)
    assert list(recording.times) == sorted(recording.times)
    assert recording.index_at(recording.times[0] + 3.0) == 5
    assert recording.sample(3) == SCENARIOS[0].at(-3600.0)


@pytest.mark.parametrize("length", [0, 7, 100_000, 2**31, 2**32 - 1])
def test_a_damaged_length_costs_its_own_stretch(length: int, record: Record, tmp_path: Path) -> None:
    """Every tick behind it was lost, however long the recording."""
    content = bytearray(record(SCENARIOS[0], 4 * KEY_EVERY_TICKS).read_bytes())
    places = record_index(bytes(content), "x").ticks
    hit = places[KEY_EVERY_TICKS + 5]
    content[hit.offset - HEAD.size + 1 : hit.offset - HEAD.size + 5] = length.to_bytes(4, "little")
    path = tmp_path / "damaged.kvtop"
    path.write_bytes(content)
    recording = Recording(path)
    assert len(recording) == 3 * KEY_EVERY_TICKS + 5
    last = 4 * KEY_EVERY_TICKS - 1
    assert recording.sample(len(recording) - 1) == SCENARIOS[0].at(float(last))
    assert recording.sample(KEY_EVERY_TICKS + 4) == SCENARIOS[0].at(float(KEY_EVERY_TICKS + 4))


def test_a_lost_model_is_never_another_one(record: Record, tmp_path: Path) -> None:
    """Models are known by their place in the file: behind a loss none of them may be taken for the next."""
    content = bytearray(record(SCENARIOS[0], 30).read_bytes())
    first = record_index(bytes(content), "x").models[0]
    content[first.offset - HEAD.size + 1 : first.offset - HEAD.size + 5] = (2**31).to_bytes(4, "little")
    path = tmp_path / "damaged.kvtop"
    path.write_bytes(content)
    assert record_index(bytes(content), "x").models == ()
    recording = Recording(path)
    assert recording.sample(len(recording) - 1).models == {}


@pytest.mark.parametrize(
    ("taken", "times"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([1, 2, 900, 901, 3, 4, 5], [1, 2, 2, 2, 3, 4, 5]),
        ([1, 2, 3, 4, 2, 3], [1, 2, 3, 3, 3, 3]),
        ([900, 1, 2, 3], [1, 1, 2, 3]),
        ([1, float("nan"), 2, 1e300, -5, 3], [1, 1, 2, 2, 2, 3]),
        ([float("nan")], [0]),
        ([], []),
    ],
)
def test_a_clock_that_jumps_spoils_its_own_ticks_alone(taken: list[float], times: list[float]) -> None:
    found = rising(taken)
    assert list(found) == sorted(found)
    if taken != [1, 2, 3, 4, 2, 3]:  # several choices keep as many
        assert list(found) == times


def test_a_file_of_heads_that_are_none_is_given_up_soon(tmp_path: Path) -> None:
    """Whoever sends a recording chooses what stands where the next one is looked for."""
    path = tmp_path / "x.kvtop"
    lure = HEAD.pack(KEY_TICK, 1 << 20, 0, 1.0) * 200_000
    path.write_bytes(FIRST_LINE + b"\xff" * HEAD.size + lure)
    started = time.thread_time()
    with pytest.raises(RecordingError, match="no tick"):
        Recording(path)
    assert time.thread_time() - started < 5
