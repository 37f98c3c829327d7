"""Recorded answers of mlx-lm's own cache classes, and a way to ask kvtop the same."""

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import MemoryPlan, Refusal
from kvtop.planning.mlx.planner import plan_command

Row = Mapping[str, Any]
Oracle = Mapping[str, Any]
Ask = Callable[[Mapping[str, object], Row], MemoryPlan | Refusal]
OPTIONS = {
    "kv_bits": "--kv-bits",
    "group_size": "--kv-group-size",
    "quantized_kv_start": "--quantized-kv-start",
    "prefill_step_size": "--prefill-step-size",
}


def _read(name: str) -> Oracle:
    path = Path(__file__).parents[2] / "fixtures" / "oracle" / name
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        recorded: Oracle = json.load(stream)
    return recorded


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    """The rows that came with the project's facts."""
    return _read("mlx.json.gz")


@pytest.fixture(scope="session")
def more() -> Oracle:
    """Other model types."""
    return _read("mlx_more.json.gz")


@pytest.fixture(scope="session")
def ask() -> Ask:
    """`mlx_lm.server --model DIR` with the options of a row, for a sequence of its length."""

    def asked(config: Mapping[str, object], row: Row) -> MemoryPlan | Refusal:
        words = ["--model", "/models/m"]
        for key, option in OPTIONS.items():
            if row[key] is not None:
                words += [option, str(row[key])]
        return plan_command(words, Checkpoint("/models/m", config, (), None), row["ctx"])

    return asked
