"""Commands that take minutes, shown while they run: a line at least every 15 seconds, and what failed in words."""

import os
import selectors
import shutil
import subprocess
import time
import venv
from pathlib import Path

EVERY_SECONDS = 10.0
_LAST_LINES = 20
_WIDTH = 110


def say(text: str) -> None:
    """One line of progress, at once."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def run(what: str, command: list[str], grows: Path | None = None, environ: dict[str, str] | None = None) -> None:
    """Run a command; now and then its last line, or, while it says nothing, how big the folder `grows` is by now.

    Raises SystemExit with its last lines where it fails, and says that another run goes on from there.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environ
    )
    assert process.stdout is not None
    began = shown = time.monotonic()
    text, told = b"", ""
    with process, selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        try:
            while True:
                if selector.select(timeout=1.0):
                    piece = os.read(process.stdout.fileno(), 65536)
                    if not piece:
                        break
                    text = (text + piece)[-65536:]
                if time.monotonic() - shown >= EVERY_SECONDS:
                    shown = time.monotonic()
                    last = (_lines(text) or [""])[-1][:_WIDTH]
                    say(last if last not in {told, ""} else _still(what, shown - began, grows))
                    told = last
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        shown_lines = "\n".join(f"    {line}" for line in _lines(text)[-_LAST_LINES:])
        raise SystemExit(
            f"{what} failed (exit code {process.returncode}); its last lines:\n{shown_lines}\n"
            f"The command was: {' '.join(command)}\nRun this again to go on: what is there is kept."
        )


def _lines(text: bytes) -> list[str]:
    return [line.strip() for line in text.decode(errors="replace").replace("\r", "\n").split("\n") if line.strip()]


def _still(what: str, seconds: float, grows: Path | None) -> str:
    there = "" if grows is None else f", {_size_bytes(grows) / 2**20:,.0f} MiB so far"
    return f"still {what} ({seconds // 60:.0f} min {seconds % 60:.0f} s{there})"


def _size_bytes(folder: Path) -> int:
    size_bytes = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                size_bytes += os.lstat(Path(place, name)).st_size
            except OSError:  # gone meanwhile
                continue
    return size_bytes


def environment_at(home: Path) -> Path:
    """The interpreter of a virtual environment with a pip that goes on after a broken connection; kept where it is."""
    python = home / "bin" / "python"
    done = home / "pip-is-new"
    if not done.exists():
        say(f"making the environment {home.name}")
        venv.create(home, with_pip=True, clear=not (home / "ready").exists())
        run("updating pip", [str(python), "-m", "pip", "install", "-q", "--upgrade", "pip>=25.1"])
        done.touch()
    return python


def pip(python: Path, verb: str) -> list[str]:
    """The beginning of `pip install` or `pip download` that a bad connection does not end."""
    options = ("--disable-pip-version-check", "--progress-bar", "off", "--retries", "10", "--timeout", "60")
    return [str(python), "-m", "pip", verb, *options, "--resume-retries", "20"]


def need_room(folder: Path, gib: float) -> None:
    """Raises SystemExit where the disk has less room than that, before minutes are spent."""
    free_gib = shutil.disk_usage(folder).free / 2**30
    if free_gib < gib:
        raise SystemExit(f"{folder}: {free_gib:.1f} GiB are free and {gib:.1f} GiB are needed; KVTOP_ENGINES moves it")


def need_program(*names: str, remedy: str) -> None:
    """Raises SystemExit with the remedy where one of these programs is not installed."""
    for name in names:
        if shutil.which(name) is None:
            raise SystemExit(f"{name} is not installed: {remedy}")
