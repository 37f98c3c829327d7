"""Whoever names a file to kvtop gets no more of it than he could read himself."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from kvtop.domain.model_file import ModelFileError
from kvtop.sources.model_files.regular_file import open_regular
from kvtop.sources.rights import reading
from kvtop.sources.rights.credentials import Credentials, credentials_of, own_credentials
from kvtop.sources.rights.reading import in_time, read_as
from tests.sources.rights.conftest import GROUP, STRANGER, child

REFUSED = r"Permission denied|closed to the server's own user"


def text_of(path: Path) -> bytes:
    with open_regular(str(path)) as (file, _):
        return file.read(100)


def written(path: Path, mode: int) -> Path:
    path.write_bytes(b"CANARY")
    path.chmod(mode)
    return path


def test_a_file_that_everybody_may_read_is_read(asked_for: int, place: Path) -> None:
    path = written(place / "model", 0o644)
    assert read_as(asked_for, "model", lambda: text_of(path)) == b"CANARY"


def test_a_closed_file_is_refused(asked_for: int, place: Path) -> None:
    path = written(place / "model", 0o600)
    with pytest.raises(ModelFileError, match=REFUSED):
        read_as(asked_for, "model", lambda: text_of(path))
    assert text_of(path) == b"CANARY", "kvtop's own rights are as before"


def test_a_file_in_a_closed_folder_is_refused(asked_for: int, place: Path) -> None:
    (place / "home").mkdir()
    path = written(place / "home/model", 0o644)
    (place / "home").chmod(0o700)
    with pytest.raises(ModelFileError, match=REFUSED):
        read_as(asked_for, "model", lambda: text_of(path))


def test_a_link_is_judged_by_where_it_leads(asked_for: int, place: Path) -> None:
    path = written(place / "secret", 0o600)
    (place / "model").symlink_to(path)
    with pytest.raises(ModelFileError, match=REFUSED):
        read_as(asked_for, "model", lambda: text_of(place / "model"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to a group")
def test_a_file_of_one_of_its_groups_is_read(asked_for: int, place: Path) -> None:
    path = written(place / "model", 0o640)
    os.chown(path, 0, GROUP)
    assert read_as(asked_for, "model", lambda: text_of(path)) == b"CANARY"
    os.chown(path, 0, GROUP + 1)
    with pytest.raises(ModelFileError):
        read_as(asked_for, "model", lambda: text_of(path))


def test_only_the_thread_that_reads_has_less_rights(stranger: int, place: Path) -> None:
    path = written(place / "secret", 0o600)
    is_inside, go_on = threading.Event(), threading.Event()

    def work() -> None:
        is_inside.set()
        go_on.wait(20)

    other = threading.Thread(target=lambda: read_as(stranger, "wait", work, seconds=30))
    other.start()
    assert is_inside.wait(20)
    assert text_of(path) == b"CANARY"
    go_on.set()
    other.join()


def test_its_real_user_counts(stranger: int) -> None:
    assert credentials_of(stranger) == Credentials(STRANGER, STRANGER, (GROUP,))
    assert credentials_of(os.getpid()) == own_credentials()


def test_a_program_that_changes_its_user_has_nothing_opened(tmp_path: Path) -> None:
    """Its words are those of whoever started it, its rights another's."""
    home = tmp_path / "7"
    home.mkdir()
    (tmp_path / "self").mkdir()
    (tmp_path / "self/stat").touch()
    (home / "status").write_text("Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t0 \n")
    (home / "exe").touch()
    assert credentials_of(7, tmp_path) == Credentials(0, 0, (0,))
    (home / "exe").chmod(0o755 | stat.S_ISUID)
    with pytest.raises(PermissionError):
        credentials_of(7, tmp_path)


def test_a_process_that_is_gone_has_nothing_opened() -> None:
    with pytest.raises(OSError, match=r"No such file|cannot be determined"):
        read_as(1 << 30, "model", lambda: 1)


@pytest.mark.parametrize(
    ("mode", "owner", "may"),
    [(0o400, STRANGER, True), (0o044, STRANGER, False), (0o604, 0, True), (0o640, 0, False), (0o040, 0, False)],
)
def test_only_the_first_class_that_fits_counts(mode: int, owner: int, may: bool) -> None:
    status = os.stat_result((stat.S_IFREG | mode, 1, 1, 1, owner, 0, 0, 0, 0, 0))
    assert Credentials(STRANGER, STRANGER, (GROUP,)).may(status, 4) is may


def test_a_link_out_of_its_root_is_followed_inside_it(place: Path) -> None:
    """With plain open() the kernel follows an absolute link from kvtop's own root, whatever was looked at before."""
    if os.geteuid() != 0 or not Path("/proc/self/stat").exists():
        pytest.skip("only root may change its root")
    outside = written(place / "secret", 0o600)
    jail = place / "jail"
    (jail / place.relative_to("/")).mkdir(parents=True)
    (jail / outside.relative_to("/")).write_bytes(b"inside")
    (jail / "model").symlink_to(outside)
    (jail / "above").symlink_to(f"../../../../../../..{outside}")
    pid = child(lambda: os.chroot(jail))
    try:
        for name in ("model", "above"):
            path = Path(f"/proc/{pid}/root/{name}")
            assert read_as(pid, "model", partial(text_of, path)) == b"inside"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_work_that_never_ends_is_given_up_and_not_begun_again() -> None:
    never = threading.Event()
    begun: list[int] = []

    def work() -> bool:
        begun.append(1)
        return never.wait(900)

    started = time.monotonic()
    with pytest.raises(TimeoutError, match="does not answer"):
        in_time(7, "model", work, 0.1)
    with pytest.raises(TimeoutError, match="does not answer"):
        in_time(7, "model", work, 900.0)
    assert time.monotonic() - started < 600
    assert begun == [1]
    never.set()
    assert in_time(7, "another", lambda: 5, 20.0) == 5


def test_a_machine_that_gives_no_thread_is_an_error_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(OSError, match="no more threads"):
        in_time(8, "model", lambda: 1)


def test_rights_that_the_kernel_does_not_give_are_an_error(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """Nothing is opened with kvtop's own rights instead."""
    monkeypatch.setattr(reading, "credentials_of", lambda *_: Credentials(STRANGER, STRANGER, ()))
    monkeypatch.setattr(reading, "can_switch", lambda: True)
    if os.geteuid() == 0:
        monkeypatch.setattr(
            "kvtop.sources.rights.thread_credentials._UNCHANGED", 7
        )  # asking again gives another answer
    path = written(place / "model", 0o644)
    opened: list[bytes] = []
    work: Callable[[], None] = lambda: opened.append(text_of(path))  # noqa: E731  the list says whether it ran
    with pytest.raises(OSError):  # noqa: PT011  in the kernel's words
        read_as(os.getpid(), "model", work)
    assert opened == []


CODE = """
import os, sys
from kvtop.sources.rights.credentials import Credentials
from kvtop.sources.rights.thread_credentials import can_switch, switched_to
print(can_switch())
if sys.argv[1:] and can_switch():
    try:
        with switched_to(Credentials(4242, 4242)):
            print(os.listdir(sys.argv[1]))
    except PermissionError as error:
        print("refused", error.strerror)
"""


@pytest.mark.parametrize(
    ("limits", "answer"),
    [
        ((), "True"),
        (("--bounding-set=-setuid", "--inh-caps=-setuid"), "False"),
        (("--bounding-set=-setgid", "--inh-caps=-setgid"), "False"),
    ],
)
def test_root_of_a_container_may_not_be_able_to(limits: tuple[str, ...], answer: str) -> None:
    """Then modes are compared, instead of nothing being read."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root has rights to lose, with setpriv")
    command = ["setpriv", *limits, sys.executable, "-c", CODE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(done.stderr.strip()[-200:])
    assert done.stdout.split() == [answer]


def test_root_that_keeps_its_capabilities_reads_for_nobody(place: Path) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root has rights to keep, with setpriv")
    (place / "closed").mkdir(mode=0o700)
    words = ["--securebits", "+no_setuid_fixup"]
    command = ["setpriv", *words, sys.executable, "-c", CODE, str(place / "closed")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(done.stderr.strip()[-200:])
    assert "refused" in done.stdout
