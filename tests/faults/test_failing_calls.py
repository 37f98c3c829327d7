"""Whatever system call fails, readers say so in their own words, and writers leave what was or what should be."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("calls are made to fail on Linux, with a C compiler")
    folder = tmp_path_factory.mktemp("faults")
    library = folder / "failing.so"
    build = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "failing_calls.c"), "-ldl"]
    if subprocess.run(build, capture_output=True, check=False).returncode:
        pytest.skip("this C library has no separate calls for large files")
    environ = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.work", str(folder / "files")],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, object]] = json.loads(done.stdout)
    return found


def test_calls_do_fail(report: dict[str, dict[str, object]]) -> None:
    assert len(report) >= 11
    assert {
        name: it["calls"] for name, it in report.items() if not isinstance(it["calls"], int) or it["calls"] < 2
    } == {}


def test_nothing_but_what_is_expected_comes_of_it(report: dict[str, dict[str, object]]) -> None:
    wrong = {name: it["wrong"] for name, it in report.items() if it["wrong"]}
    assert wrong == {}, "\n".join(str(line) for lines in wrong.values() if isinstance(lines, list) for line in lines)
