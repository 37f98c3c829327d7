"""What lint advises on a card in use, typed into lint and plan again: both say the same of the driver's own figures."""

import json
import shlex
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import StandinNvml
from tests.models.rule_models import checkpoints

TOTAL_BYTES = 25_757_220_864
WEIGHTS_BYTES = 2 * 8_190_734_336
_WORLD = "device gpu0\nname gpu0 NVIDIA GeForce RTX 4090\nuuid gpu0 GPU-1\ntotal gpu0 {}\nused gpu0 {}\ncc gpu0 8 9\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A checkpoint of 8B, without its data."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(checkpoints()["llama-3.1-8b"].config), encoding="utf-8")
    shape = [WEIGHTS_BYTES // 2 // 4096, 4096]
    tensor = {"dtype": "BF16", "shape": shape, "data_offsets": [0, WEIGHTS_BYTES]}
    header = json.dumps({"model.embed_tokens.weight": tensor}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + WEIGHTS_BYTES)
    return folder


def _kvtop(standin: StandinNvml, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "kvtop", *words]
    return subprocess.run(command, env=standin.env, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize(
    ("used_gib", "is_command"), [(19.5, False), (4.0, True), (2.5, True)], ids=["held", "half free", "nearly free"]
)
def test_the_share_that_lint_prints_is_one_that_plan_takes(
    standin_nvml: StandinNvml, model: Path, used_gib: float, is_command: bool
) -> None:
    standin_nvml.write_scenario(_WORLD.format(TOTAL_BYTES, int(used_gib * 2**30)))
    command = ("vllm", "serve", str(model), "--max-model-len", "8192", "--gpu-memory-utilization", "0.9")
    asked = _kvtop(standin_nvml, "lint", "--json", "--", *command)
    finding = next(it for it in json.loads(asked.stdout)["findings"] if it["slug"] == "memory-utilization-risky")
    assert finding["severity"] == "error"
    assert asked.returncode == 1
    fix = finding["fix"].split(", or ")[0]
    assert fix.startswith("--gpu-memory-utilization") is is_command
    if is_command:
        fixed = (*command, *shlex.split(fix))
        assert _kvtop(standin_nvml, "lint", "--", *fixed).returncode == 0
        planned = _kvtop(standin_nvml, "plan", "--", *fixed)
        assert planned.returncode == 0, planned.stdout
