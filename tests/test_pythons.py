"""No Python is claimed that no run has shown, and what is claimed is what is run."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.pythons import starts
from tests.pythons.starts import ROOT, claimed, find, main, shown


def test_every_claimed_python_has_been_shown() -> None:
    assert set(claimed()) == set(shown()), "make test-pythons with --record on a machine that has it, or no classifier"


def test_the_oldest_claimed_python_is_the_oldest_that_may_install_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={claimed()[0]}"
    minors = [int(version.partition(".")[2]) for version in claimed()]
    assert minors == list(range(minors[0], minors[0] + len(minors)))


def test_what_is_said_of_a_python_is_its_own_version() -> None:
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    found = find(minor)
    if found is None:
        pytest.skip(f"no Python {minor} on PATH or in pyenv that can make environments")
    python, version = found
    code = "import sys; print(*sys.version_info[:3], sep='.')"
    said = subprocess.run([python, "-c", code], capture_output=True, check=True)
    assert said.stdout.decode().strip() == version


def test_none_at_all_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setattr(starts, "built", lambda folder: folder / "kvtop.whl")
    assert main([]) == 1
    said = capsys.readouterr()
    assert "none of the Pythons" in said.err
    assert said.out.count("not on this machine") == len(claimed())
