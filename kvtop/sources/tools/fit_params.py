"""Run llama.cpp's own planner, `llama-fit-params`, where it is installed. It loads no weights."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

TOOL = "llama-fit-params"
TIMEOUT_SECONDS = 120.0


class FitParamsError(Exception):
    """The tool is not there, or did not answer. str() is one line for a person."""


def find_tool(program: str, environ: Mapping[str, str]) -> str:
    """The tool beside the server's program, else on PATH. Raises FitParamsError naming both places."""
    resolved = shutil.which(program, path=environ.get("PATH", ""))
    beside = Path(resolved).resolve().parent / TOOL if resolved else None
    if beside is not None and beside.is_file():
        return str(beside)
    found = shutil.which(TOOL, path=environ.get("PATH", ""))
    if found is None:
        where = f"neither beside {resolved} nor on PATH" if resolved else "not on PATH"
        raise FitParamsError(f"{TOOL} is {where}")
    return found


def run_tool(tool: str, arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """What the tool prints. Raises FitParamsError with its last words when it fails or takes too long."""
    try:
        done = subprocess.run(
            [tool, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            env=dict(environ),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FitParamsError(f"{TOOL} did not answer within {TIMEOUT_SECONDS:.0f} s") from error
    except OSError as error:
        raise FitParamsError(f"{tool}: {error.strerror}") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise FitParamsError(f"{TOOL} exited with {done.returncode}: {lines[-1] if lines else 'no output'}")
    return done.stdout
