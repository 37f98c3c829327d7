"""A fault of kvtop itself, planted on purpose: one sentence, a report without values, exit 70. Never a traceback."""

import argparse
import importlib
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest

from kvtop.cli import main
from kvtop.domain.answers.fault import fault_of
from kvtop.io import fault_reports
from kvtop.verbs import VERBS
from kvtop.verbs.command_line import exit_codes

PATIENCE_SECONDS = 90.0
NEEDS = {
    "completion": ["bash"],
    "record": ["x.kvtop"],
    "replay": ["x.kvtop"],
    "diff": ["a", "b"],
    "plan": ["--", "llama-server", "-m", "x"],
    "recommend": ["--", "llama-server", "-m", "x"],
    "quality": ["--", "llama-server", "-m", "x"],
    "wrap": ["--", "mlx_lm.server"],
}
SENTENCE = re.compile(r"kvtop: internal error \((?P<title>[^)]*)\): a fault of kvtop.*; its report is (?P<path>\S+)")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state directory, and no report remembered."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(fault_reports, "_written", {})
    return tmp_path / "state"


def report_named(said: str) -> str:
    """The text of the report that the sentence names, which only its owner may read."""
    found = SENTENCE.search(said)
    assert found is not None, said
    path = Path(found["path"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    text = path.read_text(encoding="utf-8")
    assert "CANARY" not in said + text
    assert found["title"].partition(" ")[0] in text
    return text


def looks_up(args: argparse.Namespace) -> int:
    """A verb with somebody's secrets among its variables."""
    environ = {"HF_TOKEN": "CANARYENV", "argv": f"--api-key CANARYARGV {args}"}
    return int(environ["CANARYKEY"])


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS if verb.name != "help"])  # that one is --help
def test_every_verb(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], state: Path
) -> None:
    monkeypatch.setattr(importlib.import_module(f"kvtop.verbs.{verb}"), "run", looks_up)
    assert main([verb, *NEEDS.get(verb, [])]) == exit_codes.INTERNAL_ERROR == 70
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    text = report_named(said.err)
    assert "tests/test_crash.py" in text
    assert "kvtop/cli.py" in text
    assert [path.parent for path in state.rglob("*.txt")] == [state / "kvtop/faults"]


def test_without_a_folder_of_its_own_the_sentence_is_still_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path / "file"))
    monkeypatch.setattr(fault_reports, "_written", {})
    monkeypatch.setattr(importlib.import_module("kvtop.verbs.themes"), "run", looks_up)
    assert main(["themes"]) == exit_codes.INTERNAL_ERROR
    assert "its report could not be written anywhere" in capsys.readouterr().err


def test_a_folder_that_others_may_read_is_not_written_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], state: Path, tmp_path: Path
) -> None:
    (state / "kvtop/faults").mkdir(parents=True)
    (state / "kvtop/faults").chmod(0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(importlib.import_module("kvtop.verbs.themes"), "run", looks_up)
    assert main(["themes"]) == exit_codes.INTERNAL_ERROR
    assert report_named(capsys.readouterr().err)
    assert list((state / "kvtop/faults").iterdir()) == []


def test_one_fault_is_one_file_and_old_ones_go(state: Path) -> None:
    def caught(number: int) -> Exception:
        try:
            # A function of its own for each, so that their places differ.
            exec(f"def fails_{number}(): return 1 // 0\nfails_{number}()", {})
        except ZeroDivisionError as error:
            return error
        raise AssertionError

    for number in (*range(fault_reports.REPORTS_KEPT + 5), 3, 3):
        fault_reports.write_report(caught(number), "counting")
    assert len(list((state / "kvtop/faults").iterdir())) == fault_reports.REPORTS_KEPT


def of(work: Callable[[], object]) -> str:
    """What the description of this failure says."""
    try:
        work()
    except Exception as error:  # noqa: BLE001  whatever was planted
        return fault_of(error).text
    raise AssertionError("nothing was raised")


def _says(text: str) -> object:
    raise ValueError(f"unreadable: {text}")


def _chained() -> object:
    try:
        return int("CANARY")
    except ValueError as error:
        raise RuntimeError(f"CANARY: {error}") from error


@pytest.mark.parametrize(
    ("work", "shown"),
    [
        (lambda: int("CANARY"), "ValueError: invalid literal for int() with base 10: …"),
        (lambda: dict[str, int]()["CANARY"], "KeyError: …"),
        (lambda: dict[object, int]()["--api-key", "CANARY"], "KeyError: (…)"),
        (lambda: list[int]()[7], "IndexError: list index out of range"),
        (lambda: None + 1, "TypeError: unsupported operand type(s) for +: 'NoneType' and 'int'"),  # type: ignore[operator]
        (lambda: "".no_such_name, "AttributeError: 'str' object has no attribute 'no_such_name'"),  # type: ignore[attr-defined]
        (
            lambda: Path("/CANARY/x").read_text(encoding="utf-8"),
            "FileNotFoundError: [Errno 2] No such file",
        ),
        (lambda: float("it's CANARY"), "ValueError: could not convert string to float: …"),
        (lambda: _says("CANARY"), "ValueError\n"),
        (_chained, "caused by\nValueError: invalid literal"),
        (lambda: subprocess.run(["false", "CANARY"], check=True), "CalledProcessError\n"),
    ],
    ids=lambda it: it[:24] if isinstance(it, str) else "",
)
def test_a_description_holds_no_value(work: Callable[[], object], shown: str) -> None:
    text = of(work)
    assert shown in text
    assert "CANARY" not in text


def test_a_description_of_an_endless_chain_ends() -> None:
    first, second = ValueError("a"), KeyError("b")
    first.__cause__, second.__cause__ = second, first
    assert fault_of(first).text == "ValueError\ncaused by\nKeyError"

    def deeper() -> None:
        deeper()

    assert of(deeper).count("in test_a_description") <= 101


BEGINNING = """
import sys
from kvtop import cli

def fails(*arguments, **named):
    environ = {"HF_TOKEN": "CANARYENV", "argv": "--api-key CANARYARGV"}
    return environ["CANARYKEY"]

async def fails_later(*arguments, **named):
    return fails()
"""
PLANTED = {
    "drawing": "import kvtop.views.tui.widgets.server_table as m; m.server_lines = fails\n"
    "import kvtop.views.tui.screens.screen as m; m.KvtopScreen.draw = fails",
    "analysis": "import kvtop.app.frames as m; m.analyse = fails",
    "sources": "import kvtop.sources.demo as m; m.play = fails",
    "timer": "import kvtop.views.tui.app as m; m.KvtopApp._tick = fails",
    "key": "import kvtop.views.tui.app as m; m.KvtopApp.action_pause = fails",
    "start": "import kvtop.views.tui.app as m; m.load_themes = fails",
    "stylesheet": "import kvtop.views.tui.app as m; m.KvtopApp.CSS_PATH = None; m.KvtopApp.CSS = 'CANARY {'",
    "thread": "import kvtop.views.tui.app as m, threading\n"
    "m.KvtopApp._tick = lambda self: threading.Thread(target=fails).start()",
    "task": "import kvtop.views.tui.app as m, asyncio, gc\n"
    "def _tick(self):\n    asyncio.create_task(fails_later()); gc.collect(); self.set_timer(1.0, self.exit)\n"
    "m.KvtopApp._tick = _tick",
}


def shown_until_the_end(planted: str, state: Path) -> tuple[int, str]:
    """Exit code of the dashboard of the demo with this fault in it, and all that it sent to its terminal."""
    master, slave = pty.openpty()
    ioctl(slave, TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    environ = {**os.environ, "TERM": "xterm-256color", "XDG_STATE_HOME": str(state), "KVTOP_API_KEY": "CANARYOWNKEY"}
    script = f"{BEGINNING}\n{planted}\nsys.exit(cli.main())"
    command = [sys.executable, "-c", script, "--demo"]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environ) as process:
        os.close(slave)
        got, end, pressed = b"", time.monotonic() + PATIENCE_SECONDS, False
        while time.monotonic() < end:
            if select.select([master], [], [], 0.2)[0]:
                try:
                    got += os.read(master, 65536)
                except OSError:
                    break
            elif process.poll() is not None:
                break
            if not pressed and b"Servers" in got:
                pressed = os.write(master, b"p") > 0
        else:
            process.send_signal(signal.SIGKILL)
    os.close(master)
    return process.wait(), got.decode("utf-8", "replace")


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_the_dashboard(planted: str, tmp_path: Path) -> None:
    code, sent = shown_until_the_end(planted, tmp_path / "state")
    assert code == exit_codes.INTERNAL_ERROR, sent[-2000:]
    if "\x1b[?1049h" in sent:
        assert sent.rindex("\x1b[?1049l") > sent.rindex("\x1b[?1049h"), "the terminal was not restored"
        assert sent.rindex("kvtop: internal error") > sent.rindex("\x1b[?1049l"), "said where nobody sees it"
    assert "Traceback" not in sent
    assert report_named(sent)


WITHOUT_A_SCREEN = {
    "snapshot": ("import kvtop.app.frames as m; m.analyse = fails", ["snapshot", "--demo"]),
    "accessible": ("import kvtop.app.frames as m; m.analyse = fails", ["--accessible", "--demo"]),
    "exporter": (
        "import kvtop.app.frames as m; m.analyse = fails",
        ["exporter", "--demo", "--textfile", "/dev/null"],
    ),
    "thread": (
        """
import kvtop.verbs.snapshot as m, threading, time
def run(args):
    threading.Thread(target=fails).start()
    time.sleep(60)
m.run = run""",
        ["snapshot", "--demo"],
    ),
    "task": (
        """
import kvtop.verbs.snapshot as m, asyncio
async def later():
    asyncio.create_task(fails_later())
    await asyncio.sleep(0.1)
def run(args):
    asyncio.run(later())
    return 0
m.run = run""",
        ["snapshot", "--demo"],
    ),
}


@pytest.mark.parametrize(("planted", "arguments"), WITHOUT_A_SCREEN.values(), ids=WITHOUT_A_SCREEN)
def test_a_program_without_a_screen(planted: str, arguments: list[str], tmp_path: Path) -> None:
    script = f"{BEGINNING}\n{planted}\nsys.exit(cli.main())"
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert done.returncode == exit_codes.INTERNAL_ERROR, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert report_named(done.stderr)
