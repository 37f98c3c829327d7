"""Recorded answers of mlx-lm's own cache classes, and a way to ask kvtop the same."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import MemoryPlan, Refusal
from kvtop.planning.mlx.planner import plan_command

Row = Mapping[str, Any]
Ask = Callable[[Mapping[str, object], Row], MemoryPlan | Refusal]
OPTIONS = {
    "kv_bits": "--kv-bits",
    "group_size": "--kv-group-size",
    "quantized_kv_start": "--quantized-kv-start",
    "prefill_step_size": "--prefill-step-size",
}


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
