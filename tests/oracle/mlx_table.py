"""Print how kvtop's MLX plans compare with mlx-lm's own caches, as a Markdown table.

    python -m tests.oracle.mlx_table

One row a model: cases, how many have exactly the bytes, and how many of mlx-lm's errors kvtop words alike. Exits with 1
when any differs.
"""

import gzip
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvtop.domain.memory import Segment
from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import Refusal
from kvtop.planning.mlx.planner import plan_command
from tests.amounts import size_of

FIXTURES = Path(__file__).parents[1] / "fixtures" / "oracle"
OPTIONS = {
    "kv_bits": "--kv-bits",
    "group_size": "--kv-group-size",
    "quantized_kv_start": "--quantized-kv-start",
    "prefill_step_size": "--prefill-step-size",
}


@dataclass(slots=True)
class Row:
    """Counts of one model."""

    sizes: int = 0
    exact_sizes: int = 0
    errors: int = 0
    exact_errors: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether every case agrees."""
        return (self.sizes, self.errors) == (self.exact_sizes, self.exact_errors)

    def cells(self, name: str) -> str:
        """One line of the table."""
        return f"| {name} | {self.sizes} | {self.exact_sizes} | {self.errors} | {self.exact_errors} |"


def _count(row: Row, config: Mapping[str, object], case: Mapping[str, Any]) -> None:
    words = [word for key, name in OPTIONS.items() if case[key] is not None for word in (name, str(case[key]))]
    answer = plan_command(words, Checkpoint("model", config, (), None), case["ctx"])
    if case["expected_bytes"] is None:
        row.errors += 1
        row.exact_errors += isinstance(answer, Refusal) and answer.message == case["error"]
        return
    row.sizes += 1
    if not isinstance(answer, Refusal):
        held = sum(size_of(device, Segment.KV_CACHE) + size_of(device, Segment.RECURRENT) for device in answer.devices)
        row.exact_sizes += held == case["expected_bytes"]


def main() -> int:
    """Print the table; 0 when everything agrees."""
    rows: dict[str, Row] = {}
    for name in ("mlx.json.gz", "mlx_more.json.gz"):
        with gzip.open(FIXTURES / name, "rt", encoding="utf-8") as stream:
            recorded: Mapping[str, Any] = json.load(stream)
        for case in recorded["rows"]:
            _count(rows.setdefault(case["id"], Row()), recorded["configs"][case["id"]], case)
    print("| model | sizes | exact | errors | same words |")
    print("|---|---|---|---|---|")
    for name, row in sorted(rows.items()):
        print(row.cells(name))
    return 0 if all(row.is_exact for row in rows.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
