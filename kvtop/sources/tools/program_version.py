"""The version of the program that a command names, where it is installed on this machine."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

ANSWER_SECONDS = 3.0
"""A program that does not say its version by then is planned without one."""

_PRINTED = re.compile(r"^version: (\d{1,9})\b", re.MULTILINE)
_SHEBANG = re.compile(rb"#!\s*(/\S+/python[\d.]*)\s*$")


def found_program(program: str, environ: Mapping[str, str]) -> str | None:
    """The path of a program as a shell with this environment would find it, or None."""
    return shutil.which(program, path=environ.get("PATH"))


def printed_build(path: str) -> str | None:
    """The build that `llama-server --version` prints ("b11434"); None where it prints none in time."""
    try:
        done = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ANSWER_SECONDS,
            check=False,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = _PRINTED.search(done.stderr) or _PRINTED.search(done.stdout)
    # A build from an archive without its history says 0.
    return None if found is None or not int(found[1]) else f"b{found[1]}"


def distribution_version(path: str, distribution: str) -> str | None:
    """The version of a Python distribution beside the interpreter that a script names in its first line, or None.

    Nothing is run: importing an engine takes longer than a plan.
    """
    try:
        with Path(path).open("rb") as script:
            shebang = _SHEBANG.match(script.readline(256))
        if shebang is None:
            return None
        home = Path(shebang[1].decode()).parent.parent
        folder = distribution.replace("-", "_")
        found = sorted(home.glob(f"lib/python3*/site-packages/{folder}-*.dist-info"))
    except (OSError, UnicodeDecodeError):
        return None
    return found[-1].name.removesuffix(".dist-info").partition("-")[2] or None if found else None
