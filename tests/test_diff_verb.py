"""`kvtop diff` as a person runs it: files, recordings, this host and command lines."""

import json
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.analysis.diff.comparable import host_state
from kvtop.domain.answers.comparison import ComparedServer
from kvtop.sources.demo import SCENARIOS
from kvtop.sources.recordings.encoding import Info
from kvtop.sources.recordings.snapshot_file import read_snapshot
from kvtop.sources.recordings.writer import RecordingWriter
from kvtop.views.export.snapshot.as_json import snapshot_text
from tests.command import Done, kvtop


def diff(*words: str) -> Done:
    return kvtop("diff", *words)


def snapshot_of(name: str, path: Path, second: float = 8.0) -> Path:
    chosen = next(it for it in SCENARIOS if it.name == name)
    history = History()
    analyse(history, chosen.at(second - 1), "1")
    path.write_text(snapshot_text(analyse(history, chosen.at(second), "1")), encoding="utf-8")
    return path


def _sizes(server: ComparedServer) -> list[tuple[str, int | None, dict[str, int | None]]]:
    return [
        (it.device_id, it.total.value_bytes, {segment.value: figure.value_bytes for segment, figure in it.memory.parts})
        for it in server.devices
    ]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda it: it.name)
def test_a_snapshot_read_back_is_the_frame_it_was_made_of(scenario: object, tmp_path: Path) -> None:
    frame = analyse(History(), getattr(scenario, "at")(8.0), "1")  # noqa: B009
    path = tmp_path / "s.json"
    path.write_text(snapshot_text(frame), encoding="utf-8")
    read, made = read_snapshot(path, "x"), host_state("x", frame)
    assert (read.host, read.free, read.taken_at) == (made.host, made.free, made.taken_at)
    for one, other in zip(read.servers, made.servers, strict=True):
        assert (one.id, one.engine, one.version, one.model, one.options) == (
            other.id,
            other.engine,
            other.version,
            other.model,
            other.options,
        )
        assert _sizes(one) == _sizes(other)
        assert one.findings == other.findings
        assert (one.type_k, one.type_v, one.capacity_tokens) == (other.type_k, other.type_v, other.capacity_tokens)


def test_the_same_scenario_live_and_in_a_file_is_the_same(tmp_path: Path) -> None:
    path = snapshot_of("rtx4090_llamacpp", tmp_path / "a.json")
    same = diff(str(path), "live", "--demo", "rtx4090_llamacpp")
    assert (same.returncode, same.stderr) == (0, "")
    assert "no difference" in same.stdout


def test_a_recording_and_a_moment_of_it(tmp_path: Path) -> None:
    path = tmp_path / "x.kvtop"
    writer = RecordingWriter(path, Info("1", 1.0))
    for second in range(10):
        writer.write(SCENARIOS[0].at(float(second)))
    writer.close()
    assert diff(str(path), f"{path}@9", "--tolerance", "0").returncode == 0
    wrong = diff(str(path), f"{path}@99")
    assert wrong.returncode == 2
    assert "lies outside the recording" in wrong.stderr
    other = snapshot_of("cpu_only", tmp_path / "b.json")
    different = diff(str(path), str(other), "--json")
    assert different.returncode == 1
    document = json.loads(different.stdout)
    assert document["schema"] == "kvtop.diff/1"
    assert document["differs"] is True
    assert {it["topic"] for it in document["differences"]} >= {"configuration", "memory"}


def test_a_snapshot_and_a_recording_of_one_moment_are_the_same(tmp_path: Path) -> None:
    chosen = next(it for it in SCENARIOS if it.name == "filling_up")
    path, snapshot, history = tmp_path / "x.kvtop", tmp_path / "a.json", History()
    writer = RecordingWriter(path, Info("1", 1.0))
    for second in range(20):  # a finding about how fast it fills comes after a quarter of a minute
        writer.write(chosen.at(float(second)))
        frame = analyse(history, chosen.at(float(second)), "1")
    writer.close()
    snapshot.write_text(snapshot_text(frame), encoding="utf-8")
    assert "KVT041" in snapshot.read_text(encoding="utf-8"), "how full a cache is at the moment is no part of it"
    done = diff(str(snapshot), str(path), "--tolerance", "0")
    assert (done.returncode, "no difference" in done.stdout) == (0, True), done.stdout


def test_a_file_without_an_end_is_refused() -> None:
    done = diff("/dev/zero", "/dev/zero")
    assert done.returncode == 2
    assert "no snapshot of kvtop" in done.stderr


def test_other_files_are_refused_in_words(tmp_path: Path) -> None:
    good = snapshot_of("rtx4090_llamacpp", tmp_path / "a.json")
    cases = {
        "none.json": (None, "No such file"),
        "text.json": ("hello", "neither a recording nor JSON"),
        "later.json": ('{"schema": "kvtop.snapshot/2"}', "this kvtop reads kvtop.snapshot/1"),
        "list.json": ("[]", "this kvtop reads kvtop.snapshot/1"),
    }
    for name, (text, words) in cases.items():
        if text is not None:
            (tmp_path / name).write_text(text, encoding="utf-8")
        done = diff(str(good), str(tmp_path / name))
        assert done.returncode == 2
        assert words in done.stderr
        assert name in done.stderr
    assert diff(str(good), str(good), "--tolerance", "lots").returncode == 2
    assert diff(str(good), str(good), "--gpu", "24GiB").returncode == 2


def test_values_that_are_none_are_unknown(tmp_path: Path) -> None:
    path, other = tmp_path / "odd.json", snapshot_of("cpu_only", tmp_path / "b.json")
    server = {"id": "a", "memory": [{"device": "g", "driver_bytes": 10**400}]}
    for number in (10**400, -(10**30), float("nan"), float("inf"), 1e300, True, "x"):
        for time in ("0001-01-01T00:00:00", "9999-12-31T23:59:59-23:59", "never", 5):
            caches = {"bytes_per_token": number, "capacity_tokens": number}
            document = {"schema": "kvtop.snapshot/1", "taken_at": time, "servers": [{**server, "kv_cache": caches}]}
            path.write_text(json.dumps(document), encoding="utf-8")
            state = read_snapshot(path, "odd")
            (read,) = state.servers
            assert (read.bytes_per_token, read.capacity_tokens, state.taken_at) == (None, None, None)
            assert read.devices[0].total.value_bytes is None
    for sides in ((path, other), (other, path)):
        done = diff(*map(str, sides))
        assert (done.returncode, done.stderr) == (1, "")


def test_sides_may_be_pipes(tmp_path: Path) -> None:
    snapshot, recording = snapshot_of("cpu_only", tmp_path / "a.json"), tmp_path / "x.kvtop"
    writer = RecordingWriter(recording, Info("1", 1.0))
    for second in (7.0, 8.0):
        writer.write(next(it for it in SCENARIOS if it.name == "cpu_only").at(second))
    writer.close()
    diffing = f"{sys.executable} -m kvtop diff"
    for side in (snapshot, recording):
        command = f"{diffing} <(cat {side}) <(cat {snapshot})"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=240, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_a_hostile_snapshot_does_not_drive_the_terminal(tmp_path: Path) -> None:
    good = snapshot_of("rtx4090_llamacpp", tmp_path / "a.json")
    document = json.loads(good.read_text(encoding="utf-8"))
    document["host"] = document["servers"][0]["id"] = document["servers"][0]["model"]["name"] = "\x1b]0;owned\x07\u202e"
    document["servers"][0]["launch"]["x\x1b[31m"] = {"value": "\x1b[2J"}
    document["servers"].append({"memory": [{"segments": {"\x1b": {"bytes": "x"}}}], "slots": 3, "launch": []})
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(document), encoding="utf-8")
    for words in ((), ("--json",)):
        done = diff(str(good), str(bad), *words)
        assert done.returncode == 1
        assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout + done.stderr)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A llama model of one layer: 128 bytes a token and type f16."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(8192)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_token_list(["a"] * 32)
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (32, 64), "output_norm": (64,), "output": (32, 64)}
    shapes |= {"blk.0.attn_norm": (64,), "blk.0.ffn_norm": (64,), "blk.0.ffn_down": (64, 128)}
    shapes |= {f"blk.0.attn_{part}": (64, 64) for part in ("q", "output")}
    shapes |= {f"blk.0.attn_{part}": (32, 64) for part in ("k", "v")}
    shapes |= {f"blk.0.ffn_{part}": (128, 64) for part in ("up", "gate")}
    for tensor, shape in shapes.items():
        writer.add_tensor(f"{tensor}.weight", np.zeros(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_two_commands(model: Path) -> None:
    one = f"llama-server -m {model} -c 4096"
    done = diff("--plan", "--gpu", "24GiB", one, f"{one} -c 8192", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    cache = next(it for it in json.loads(done.stdout)["differences"] if it["what"] == "kv_cache")
    assert (cache["a"], cache["b"], cache["ratio"]) == (4096 * 128, 8192 * 128, 1.0)
    assert cache["cause"] == "because ctx-size 4096 → 8192"
    text = diff("--plan", "--gpu", "24GiB", one, f"{one} -ctk q8_0 -ctv q8_0 -fa on")
    assert text.returncode == 1
    assert "KV per token" in text.stdout
    assert "cache-type-k (not set) → q8_0 (alone -23 %)" in text.stdout
    assert diff("--plan", "--gpu", "24GiB", one, one).returncode == 0


def test_two_commands_of_which_one_would_not_start(model: Path) -> None:
    one = f"llama-server -m {model}"
    refused = diff("--plan", "--gpu", "none", one, f"{one} -fa maybe")
    assert refused.returncode == 3
    assert "B: llama.cpp would refuse to start" in refused.stderr
    missing = diff("--plan", "--gpu", "none", one, "llama-server -m none.gguf")
    assert missing.returncode == 2
    assert "none.gguf" in missing.stderr
