"""Record mlx-lm's fixtures: install the version, ask its own cache objects, write what they say."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.engines import shown
from tools.record_oracle import canonical

CACHE = Path(os.environ.get("KVTOP_ENGINES", Path.home() / ".cache" / "kvtop"))
NEWEST = "0.32.2"
FIXTURES = ("mlx", "mlx_more")

_ANSWERS = ("expected_bytes", "error", "peak_during_prefill_bytes")


def record(version: str, fixtures: Path, only: tuple[str, ...], every: int, jobs: int) -> list[Path]:  # noqa: ARG001  nothing is built
    """Write the fixtures of a version of mlx-lm anew; returns the files whose bytes changed."""
    python = install(version)
    changed = []
    for name in FIXTURES:
        if only and name not in only:
            continue
        print(f"asking {name}", flush=True)
        recorded = canonical.thinned(canonical.read(fixtures / f"{name}.json.gz"), every)
        answers = ask(python, recorded)
        renewed = {**recorded, "made_with": made_with(python), "rows": rows_with(recorded["rows"], answers)}
        path = fixtures / f"{name}.json.gz"
        if version != NEWEST:  # the models stand in the newest version's file
            renewed.pop("configs")
            path = fixtures / "mlx" / version / f"{name}.json.gz"
        if canonical.keep(path, renewed, recorded if version == NEWEST and every > 1 else None):
            changed.append(path)
    return changed


def install(version: str) -> Path:
    """The interpreter of an environment with this mlx-lm and the CPU build of the MLX that it asks for. Once, kept."""
    home = CACHE / f"mlx-lm-{version}"
    if not (home / "ready").exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        shown.need_room(home.parent, 2.0)
        python = shown.environment_at(home)
        packages = (f"mlx-lm=={version}", "mlx[cpu]")
        shown.run(f"installing mlx-lm {version}", [*shown.pip(python, "install"), *packages], grows=home)
        (home / "ready").touch()
    return home / "bin" / "python"


def made_with(python: Path) -> dict[str, str]:
    """The versions that answer."""
    code = "import json; from importlib.metadata import version as v; print(json.dumps([v('mlx'), v('mlx-lm')]))"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    mlx, mlx_lm = json.loads(done.stdout)
    return {"mlx": mlx, "mlx_lm": mlx_lm}


def ask(python: Path, recorded: canonical.Recorded) -> list[dict[str, Any]]:
    """What the engine says to every row. Raises SystemExit with its last words where it ends early."""
    asked = json.dumps({"configs": recorded["configs"], "rows": recorded["rows"]})
    command = [str(python), "-m", "tools.record_oracle.mlx.caches"]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[-1]} failed (exit code {done.returncode}): {done.stderr[-1000:]}")
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def rows_with(rows: list[dict[str, Any]], answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with what the engine says now. A refused row keeps its peak only where one was asked for."""
    renewed = []
    for row, answer in zip(rows, answers, strict=True):
        kept = {key: value for key, value in row.items() if key not in _ANSWERS}
        said = dict(answer)
        if "error" in said and "peak_during_prefill_bytes" not in row:
            del said["peak_during_prefill_bytes"]
        renewed.append(kept | said)
    return renewed
