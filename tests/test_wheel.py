"""What people install is what is tested: the wheel, in an environment with nothing but what it says it needs."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str, cwd: Path) -> str:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # the wheel, not the tree
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=240, check=False, env=environ)
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
    assert {name for name in tops if not name.endswith((".dist-info", ".data"))} == {"kvtop"}
    assert "kvtop/themes/dark.toml" in names
    assert "kvtop/py.typed" in names
    assert "kvtop/views/tui/kvtop.tcss" in names


def test_wheel_ships_completions_and_the_man_page(wheel: Path) -> None:
    """Where shells and man look below the prefix that the wheel is installed to."""
    names = {name.partition("/data/")[2] for name in zipfile.ZipFile(wheel).namelist() if ".data/data/" in name}
    assert names == {
        "share/man/man1/kvtop.1",
        "share/bash-completion/completions/kvtop",
        "share/zsh/site-functions/_kvtop",
        "share/fish/vendor_completions.d/kvtop.fish",
    }


def note_needs(of: Distribution, extras: set[str], seen: dict[tuple[str, str], Distribution]) -> None:
    """Notes under (name, extra) the distributions that one asks for, and those that they ask for."""
    for wanted in map(Requirement, of.requires or ()):
        if wanted.marker is not None and not any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        found = distribution(wanted.name)
        assert wanted.specifier.contains(found.version, prereleases=True), str(wanted)
        fresh = {extra for extra in ("", *wanted.extras) if (wanted.name, extra) not in seen}
        seen.update({(wanted.name, extra): found for extra in fresh})
        if fresh:
            note_needs(found, fresh, seen)


def test_wheel_works_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    """What it needs is lent from this environment, without the network; what it does not name is not there."""
    home = tmp_path / "env"
    venv.create(home)
    python = str(home / "bin" / "python")
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", str(wheel), cwd=tmp_path)
    (packages,) = home.glob("lib/python*/site-packages")
    (metadata,) = packages.glob("kvtop_tui-*.dist-info")
    needs: dict[tuple[str, str], Distribution] = {}
    note_needs(PathDistribution(metadata), {""}, needs)
    for lent in needs.values():
        for top in {file.parts[0] for file in lent.files or ()} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(lent.locate_file(top))))
    kvtop = str(home / "bin" / "kvtop")
    assert run(kvtop, "--version", cwd=tmp_path).startswith("kvtop ")
    frame = json.loads(run(kvtop, "snapshot", "--json", "--demo", cwd=tmp_path))
    assert frame["schema"] == "kvtop.snapshot/1"
    assert frame["servers"][0]["memory"]
    assert (home / "share" / "man" / "man1" / "kvtop.1").is_file()
    assert "complete" in run(kvtop, "completion", "bash", cwd=tmp_path)
    assert {"dark", "light", "terminal"} <= set(run(kvtop, "themes", cwd=tmp_path).split())
