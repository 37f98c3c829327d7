"""What people install is what is tested: the wheel, in a clean environment, without development tools."""

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT), cwd=ROOT)
    (path,) = out.glob("kvtop_tui-*.whl")
    return path


def test_wheel_holds_package_and_themes_only(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"kvtop"}
    assert "kvtop/themes/dark.toml" in names
    assert "kvtop/py.typed" in names
    assert "kvtop/views/tui/kvtop.tcss" in names


def test_wheel_works_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "env"
    venv.create(home, with_pip=True)
    python = str(home / "bin" / "python")
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", str(wheel), cwd=tmp_path)
    kvtop = str(home / "bin" / "kvtop")
    assert run(kvtop, "--version", cwd=tmp_path).startswith("kvtop ")
    frame = json.loads(run(kvtop, "snapshot", "--json", "--demo", cwd=tmp_path))
    assert frame["schema"] == "kvtop.snapshot/1"
    assert frame["servers"][0]["memory"]
    assert {"dark", "light", "terminal"} <= set(run(kvtop, "themes", cwd=tmp_path).split())
