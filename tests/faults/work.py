"""Runs one piece of work again and again, each time with another of its system calls failing.

`python -m tests.faults.work FOLDER`, with the stand-in of the calls preloaded; prints a JSON object: for each work how
many calls there were, and what went wrong.
"""

import ctypes
import errno
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kvtop.config import ConfigError, load_config
from kvtop.domain.model_file import ModelFileError
from kvtop.io.atomic_write import write_atomic
from kvtop.io.web_config import WebConfigError, read_web_config
from kvtop.sources.demo import scenario
from kvtop.sources.model_files.gguf import read_gguf
from kvtop.sources.model_files.huggingface import read_checkpoint
from kvtop.sources.models.live_models import LiveModels, ModelKind, ModelRequest
from kvtop.sources.recordings.encoding import Info
from kvtop.sources.recordings.framing import RecordingError
from kvtop.sources.recordings.reader import Recording
from kvtop.sources.recordings.snapshot_file import SnapshotFileError, read_snapshot
from kvtop.sources.recordings.writer import RecordingWriter
from kvtop.views.tui.themes.theme_files import ThemeFileError, read_theme
from tests.models.tiny_gguf import write_tiny_gguf
from tests.sources.model_files.conftest import _safetensors

CODES = (errno.EIO, errno.ENOSPC, errno.EMFILE, errno.EACCES)
_MOST = 400


@dataclass(frozen=True, slots=True)
class Work:
    """`prepare` once, `run` with the calls failing, `check` that what is there afterwards can be used."""

    run: Callable[[], None]
    expected: tuple[type[Exception], ...]
    check: Callable[[], None] = lambda: None


def works(folder: Path) -> dict[str, Work]:
    """What is tried, on files below a folder."""
    sample = scenario("rtx4090_llamacpp").at(8.0)
    model = write_tiny_gguf(folder / "model.gguf")
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text('{"model_type": "llama"}')
    (checkpoint / "model.safetensors").write_bytes(_safetensors({"a": ("BF16", (4, 4), 32)}))
    (folder / "config.toml").write_text("interval = 2\n")
    (folder / "theme.toml").write_text('name = "x"\nprimary = "#ffffff"\n')
    (folder / "web.yml").write_text("tls_server_config:\n  cert_file: a\n  key_file: b\n")
    (folder / "snapshot.json").write_text('{"schema": "kvtop.snapshot/1", "servers": [], "devices": []}')
    old, new = b"o" * 5000, b"n" * 9000
    target, recording = folder / "target", folder / "r.kvtop"
    whole = folder / "whole.kvtop"
    writer = RecordingWriter(whole, Info("faults", 1.0))
    for _ in range(3):
        writer.write(sample)
    writer.close()

    def write() -> None:
        write_atomic(target, new)

    def is_whole() -> None:
        assert target.read_bytes() in {old, new}, "neither what was there nor what was to be"
        left = [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]
        assert left == [], "a temporary file stays"
        target.write_bytes(old)

    def record() -> None:
        recording.unlink(missing_ok=True)
        written = RecordingWriter(recording, Info("faults", 1.0))
        try:
            for _ in range(3):
                written.write(sample)
        finally:
            written.close()

    def is_readable() -> None:
        if recording.exists() and recording.stat().st_size > 200:
            with suppress(RecordingError):  # of a file without a tick there is nothing to read
                found = Recording(recording)
                for index in range(len(found)):
                    assert found.sample(index).servers == sample.servers

    def replay() -> None:
        found = Recording(whole)
        for index in range(len(found)):
            found.sample(index)

    def load(request: ModelRequest) -> None:
        _, _, failure = LiveModels().load(request)
        assert failure is None or failure.remedy

    target.write_bytes(old)
    return {
        "atomic write": Work(write, (OSError,), is_whole),
        "recording": Work(record, (RecordingError,), is_readable),
        "replay": Work(replay, (RecordingError,)),
        "gguf": Work(lambda: _ignored(read_gguf(model)), (ModelFileError,)),
        "checkpoint": Work(lambda: _ignored(read_checkpoint(checkpoint)), (ModelFileError, OSError)),
        "live gguf": Work(lambda: load(ModelRequest(str(model), os.getpid())), ()),
        "live checkpoint": Work(
            lambda: load(ModelRequest(str(checkpoint), os.getpid(), kind=ModelKind.CHECKPOINT)), ()
        ),
        "configuration": Work(lambda: _ignored(load_config({}, str(folder / "config.toml"))), (ConfigError,)),
        "theme": Work(lambda: _ignored(read_theme(folder / "theme.toml")), (ThemeFileError,)),
        "web configuration": Work(lambda: _ignored(read_web_config(folder / "web.yml")), (WebConfigError,)),
        "snapshot": Work(lambda: _ignored(read_snapshot(folder / "snapshot.json", "x")), (SnapshotFileError,)),
    }


def _ignored(_: object) -> None:
    return


def main() -> None:
    """Every work, every call, every code."""
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    library = ctypes.CDLL(None)
    arm = library.failing_calls_arm
    arm.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p]
    report: dict[str, dict[str, object]] = {}
    for name, work in works(folder).items():
        with suppress(*work.expected):
            work.run()  # imports what it imports late
        wrong: list[str] = []
        calls = 0
        for code in CODES:
            for number in range(1, _MOST):
                descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  as few calls as possible
                arm(number, code, os.fsencode(folder))
                try:
                    work.run()
                except work.expected:
                    pass
                except BaseException:  # noqa: BLE001  that is what is looked for
                    wrong.append(f"call {number}, {errno.errorcode[code]}: {traceback.format_exc()[-1500:]}")
                seen = arm(0, 0, b"")
                try:
                    work.check()
                    assert len(os.listdir("/proc/self/fd")) == descriptors, "a descriptor stays open"  # noqa: PTH208
                except AssertionError as error:
                    wrong.append(f"call {number}, {errno.errorcode[code]}: afterwards: {error}")
                if seen < number:
                    calls = max(calls, seen)
                    break
        report[name] = {"calls": calls, "wrong": wrong[:5]}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
