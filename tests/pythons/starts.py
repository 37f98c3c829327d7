"""The built wheel on every Python that kvtop claims: installed into a clean environment, started on a pty.

    python -m tests.pythons.starts

Run by `make test-pythons`. The Pythons are those of the classifiers in pyproject.toml, found on PATH and in pyenv. On
each, the dashboard must show a server and every screen, and leave with 0 upon q; a tab of `kvtop serve` must show it
too. Says what was found and what was not; exits with 1 when one fails or none is there. `--record` notes what has been
shown in shown.toml, which a test holds against the classifiers.
"""

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.pythons.screens import leave, walk
from tests.serving import drawn_in_a_tab, serving
from tests.terminal import on_terminal

ROOT = Path(__file__).parents[2]
SHOWN = Path(__file__).with_name("shown.toml")
_CLASSIFIER = re.compile(r"Programming Language :: Python :: (3\.\d+)")


def claimed() -> tuple[str, ...]:
    """The minor versions of the classifiers, as "3.12"."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return tuple(match[1] for match in map(_CLASSIFIER.fullmatch, project["classifiers"]) if match)


def shown() -> dict[str, str]:
    """Minor version -> the full version on which a run of this program has shown that kvtop works."""
    recorded: dict[str, str] = tomllib.loads(SHOWN.read_text(encoding="utf-8"))["shown"]
    return recorded


def _places(minor: str) -> Iterator[Path]:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from sorted(pyenv.glob(f"{minor}.*/bin/python"), reverse=True)
    for folder in os.get_exec_path():
        for name in (f"python{minor}", "python3"):
            yield Path(folder) / name


def find(minor: str) -> tuple[Path, str] | None:
    """(interpreter, full version) of the first Python of that minor version which runs and can make environments."""
    code = "import ensurepip, platform, venv; print(platform.python_version())"
    for place in _places(minor):
        if not os.access(place, os.X_OK):
            continue
        done = subprocess.run([place, "-c", code], capture_output=True, text=True, check=False)
        version = done.stdout.strip()
        # A shim of pyenv is there for versions that are not chosen; Debian's python3 comes without ensurepip.
        if done.returncode == 0 and version.startswith(f"{minor}."):
            return place, version
    return None


def _run(*command: str | Path, cwd: Path) -> None:
    # The wheel and not the tree: no PYTHONPATH.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, env=environ)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


def built(folder: Path) -> Path:
    """The wheel."""
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=ROOT)
    (wheel,) = folder.glob("kvtop_tui-*.whl")
    return wheel


def start(python: Path, wheel: Path, folder: Path) -> None:
    """Installs and starts it. Raises AssertionError with what was said or shown where that fails."""
    home = folder / "env"
    _run(python, "-m", "venv", home, cwd=folder)
    pip = (home / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check")
    _run(*pip, wheel, cwd=folder)
    environ = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "PYTHONPATH": ""}
    kvtop = str(home / "bin" / "kvtop")
    with on_terminal([kvtop, "--demo"], cwd=folder, environ=environ) as terminal:
        terminal.read_until_shown("Servers", "KV reserved")
        leave(terminal)
    with on_terminal([kvtop, "--demo", "busy_32"], 120, 40, cwd=folder, environ=environ) as terminal:
        walk(terminal)
        leave(terminal)
    _run(*pip, f"{wheel}[serve]", cwd=folder)
    with serving(kvtop=[kvtop], HOME=str(folder), XDG_CONFIG_HOME=str(folder), PYTHONPATH="") as (url, said):
        drawn = asyncio.run(drawn_in_a_tab(url, b"KV reserved"))
        assert b"KV reserved" in drawn, f"no dashboard in a tab of kvtop serve\n{said}\n{drawn[-2000:]!r}"


def _record(versions: dict[str, str]) -> None:
    lines = [f'"{minor}" = "{version}"' for minor, version in sorted((shown() | versions).items())]
    head = SHOWN.read_text(encoding="utf-8").partition("[shown]\n")[0]
    SHOWN.write_text(f"{head}[shown]\n" + "\n".join(lines) + "\n", encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """0 when all that were found work."""
    parser = argparse.ArgumentParser(description="The built wheel on every Python that kvtop claims.")
    parser.add_argument("--record", action="store_true", help=f"note what was shown in {SHOWN.name}")
    options = parser.parse_args(arguments)
    works: dict[str, str] = {}
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        wheel = built(Path(folder))
        print(f"built {wheel.name}", flush=True)
        for minor in claimed():
            found = find(minor)
            if found is None:
                print(f"Python {minor}: not on this machine (looked on PATH and in pyenv), not tried", flush=True)
                continue
            python, version = found
            room = Path(folder) / minor
            room.mkdir()
            try:
                start(python, wheel, room)
            except AssertionError as error:
                failed += 1
                print(f"Python {version} ({python}): FAILED\n{error}", flush=True)
            else:
                works[minor] = version
                print(
                    f"Python {version} ({python}): starts, shows every screen, leaves with 0, serves a tab", flush=True
                )
    if options.record:
        _record(works)
    if not works and not failed:
        print(f"none of the Pythons that kvtop claims is here: {', '.join(claimed())}", file=sys.stderr)
    return 1 if failed or not works else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
