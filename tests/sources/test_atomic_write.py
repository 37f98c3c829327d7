"""Files are there whole or not at all."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kvtop.io.atomic_write import write_atomic


def test_replaces_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    write_atomic(target, b"one")
    write_atomic(target, b"two")
    assert target.read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    write_atomic(target, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="large"):
            write_atomic(target, b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "none" / "out", b"x")


def test_a_link_stays_a_link_and_a_device_is_written_to(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    write_atomic(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    write_atomic(Path(os.devnull), b"x")
    assert not Path(os.devnull).is_file()


def test_a_pipe_is_written_to() -> None:
    code = "from pathlib import Path; from kvtop.io.atomic_write import write_atomic; "
    command = [sys.executable, "-c", code + "write_atomic(Path('/dev/stdout'), b'whole')"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=240)
    assert done.stdout == b"whole"


def test_a_closed_file_stays_closed(tmp_path: Path) -> None:
    target = tmp_path / "x"
    write_atomic(target, b"one")
    target.chmod(0o600)
    write_atomic(target, b"two")
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"two", 0o600)
