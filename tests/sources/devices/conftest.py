"""Runs the device reader in a process that sees the stand-in for the driver library."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

_PROGRAM = Path(__file__).with_name("ask_devices.py")


class _Standin(Protocol):
    @property
    def env(self) -> dict[str, str]: ...


class AskDevices:
    """A running reader: `read` asks once and gives the JSON that it printed."""

    def __init__(self, env: dict[str, str], retry_seconds: float, options: tuple[str, ...]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *options, _PROGRAM, str(retry_seconds)],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def read(self, seconds: float = 60.0, verb: str = "read") -> dict[str, Any]:
        """{"devices": {id: device}, "failures": [...], "seconds": how long it took}."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{verb} {seconds}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the reader died: {self._process.communicate()[1]}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def read_until(self, accept: Callable[[dict[str, Any]], bool], within_seconds: float = 60.0) -> dict[str, Any]:
        """Reads again and again until `accept`; fails with the last answer after `within_seconds`."""
        give_up_at = time.monotonic() + within_seconds
        while True:
            answer = self.read()
            if accept(answer):
                return answer
            assert time.monotonic() < give_up_at, answer
            time.sleep(0.1)

    def quit(self) -> tuple[float, int, str]:
        """(seconds until it was gone, exit status, what it wrote to stderr)."""
        started = time.monotonic()
        _, errors = self._process.communicate("quit\n", timeout=60)
        return time.monotonic() - started, self._process.returncode, errors

    def end(self) -> None:
        """For the end of a test that may have failed anywhere."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


Ask = Callable[..., AskDevices]


@pytest.fixture
def ask_devices() -> Iterator[Ask]:
    """Starts a reader: `ask_devices(standin)`; also `retry_seconds=0.1` and interpreter `options`."""
    running: list[AskDevices] = []

    def start(standin: _Standin, retry_seconds: float = 30.0, options: tuple[str, ...] = ()) -> AskDevices:
        running.append(AskDevices(standin.env, retry_seconds, options))
        return running[-1]

    yield start
    for reader in running:
        reader.end()
