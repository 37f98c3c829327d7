"""Run llama.cpp's `llama-perplexity`, and say how far it is while it runs."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

TOOL = "llama-perplexity"
_VERSION = re.compile(r"version:\s*(\S+)")
_VERSION_SECONDS = 30.0
_STOP_SECONDS = 10.0
_READ_BYTES = 4096


class PerplexityError(Exception):
    """The tool is not there, or failed. str() is one line for a person."""


def find_perplexity(program: str, environ: Mapping[str, str]) -> str:
    """The tool beside the server's program, else on PATH. Raises PerplexityError naming both places."""
    search = environ.get("PATH", "")
    server = shutil.which(program, path=search)
    beside = Path(server).resolve().parent / TOOL if server else None
    if beside is not None and beside.is_file():
        return str(beside)
    found = shutil.which(TOOL, path=search)
    if found is None:
        where = f"neither beside {server} nor on PATH" if server else "not on PATH"
        raise PerplexityError(f"{TOOL} is {where}")
    return found


def perplexity_version(tool: str, environ: Mapping[str, str]) -> str | None:
    """What the tool calls its version, or None where it does not say."""
    try:
        done = subprocess.run(
            [tool, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_SECONDS,
            env=dict(environ),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(done.stdout + done.stderr)
    return None if found is None else found[1]


def run_perplexity(
    tool: str, arguments: Sequence[str], environ: Mapping[str, str], progress: Callable[[str], None]
) -> str:
    """What the tool prints on its standard output. `progress` gets all of it so far, whenever there is more.

    Raises PerplexityError with the tool's last words when it fails. It is stopped when this is interrupted.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                [tool, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=dict(environ)
            )
        except OSError as error:
            raise PerplexityError(f"{tool}: {error.strerror}") from error
        try:
            printed = _follow(process, progress)
            code = process.wait()
        except BaseException:
            _stop(process)
            raise
        if code != 0:
            errors.seek(0)
            lines = [line for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
            raise PerplexityError(f"{TOOL} exited with {_reason(code)}: {lines[-1] if lines else 'no output'}")
    return printed


def _follow(process: "subprocess.Popen[bytes]", progress: Callable[[str], None]) -> str:
    if process.stdout is None:
        raise AssertionError("unreachable: started with a pipe")
    raw = b""
    with process.stdout as stream:
        while piece := os.read(stream.fileno(), _READ_BYTES):
            raw += piece
            progress(raw.decode(errors="replace"))
    return raw.decode(errors="replace")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _reason(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else str(code)
