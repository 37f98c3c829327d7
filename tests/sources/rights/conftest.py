"""Processes of another user, where this one may make them."""

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvtop.sources.rights import reading
from kvtop.sources.rights.credentials import Credentials

STRANGER = 4242
GROUP = 4343


def child(setup: Callable[[], None]) -> int:
    """The pid of a process that has done `setup` and waits."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            setup()
            os.write(tell, b"ready")
            while True:
                signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    assert os.read(told, 5) == b"ready"
    os.close(told)
    return pid


def become_stranger() -> None:
    os.setgroups([GROUP])
    os.setgid(STRANGER)
    os.setuid(STRANGER)


@pytest.fixture
def stranger() -> Iterator[int]:
    """The pid of a process of a user that has no name here."""
    if os.geteuid() != 0 or not Path("/proc/self/stat").exists():
        pytest.skip("only root may start a process of another user")
    pid = child(become_stranger)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.fixture(params=["with its rights", "by modes"])
def asked_for(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A pid for which files are opened as for the stranger: by its rights (root only), and by modes."""
    if request.param == "with its rights":
        return int(request.getfixturevalue("stranger"))
    monkeypatch.setattr(reading, "credentials_of", lambda *_: Credentials(STRANGER, STRANGER, (GROUP,)))
    monkeypatch.setattr(reading, "can_switch", lambda: False)
    return os.getpid()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may enter; pytest's own are closed."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path
