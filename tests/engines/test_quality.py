"""`kvtop quality --run` with the real llama-perplexity and the real model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines.conftest import MODEL, SERVER


@pytest.mark.engines
def test_the_real_tool_measures_eight_bits_better_than_four(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    sources = sorted(Path(__file__).parents[2].joinpath("docs").glob("*.md"))
    text.write_text("\n".join(path.read_text(encoding="utf-8") for path in sources), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "kvtop",
        "quality",
        "--run",
        "--text",
        str(text),
        "--context",
        "256",
        "--chunks",
        "2",
    ]
    command += ["--types", "q8_0/q8_0", "--types", "q4_0/q8_0", "--", str(SERVER), "-m", str(MODEL), "-t", "2"]
    environ = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    assert "q4_0/q8_0: 2 of 2" in done.stderr
    kept = json.loads((tmp_path / "data" / "kvtop" / "quality.json").read_text(encoding="utf-8"))
    found = {(it["type_k"], it["metric"]): it["value"] for it in kept["figure"]}
    assert 0 < found["q8_0", "kl_divergence"] < found["q4_0", "kl_divergence"]
    assert found["q8_0", "same_top_token"] > found["q4_0", "same_top_token"]
