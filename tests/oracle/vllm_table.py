"""Print how kvtop's vLLM plans compare with vLLM's own planner, as a Markdown table.

    python -m tests.oracle.vllm_table

One row a family of cache layouts: cases, and how many have exactly the blocks, tokens, concurrency, and bytes per
token on a rank; a case that vLLM refuses counts as exact where kvtop refuses it too. Exits with 1 when any is not.
"""

import gzip
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal
from kvtop.planning.vllm.models.architectures import architecture_of
from kvtop.planning.vllm.models.config_view import view
from kvtop.planning.vllm.planner import plan_command

FIXTURES = Path(__file__).parents[1] / "fixtures" / "oracle"
CARDS = {
    "cc8.0": "NVIDIA A100-SXM4-80GB",
    "cc8.9": "NVIDIA L40S",
    "cc9.0": "NVIDIA H100 80GB HBM3",
    "cc10.0": "NVIDIA B200",
    "cc12.0": "NVIDIA RTX PRO 6000 Blackwell Server Edition",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One recorded answer; `due` is None where vLLM refuses, else blocks, tokens, concurrency, bytes per token."""

    config: Mapping[str, object]
    card: str
    options: Mapping[str, object]
    due: tuple[object, ...] | None


@dataclass(slots=True)
class Row:
    """Counts of one family."""

    cases: int = 0
    blocks: int = 0
    tokens: int = 0
    concurrency: int = 0
    bytes_per_token: int = 0

    def cells(self, name: str) -> str:
        """One line of the table."""
        counts = (self.cases, self.blocks, self.tokens, self.concurrency, self.bytes_per_token)
        return f"| {name} | {' | '.join(str(count) for count in counts)} |"

    @property
    def is_exact(self) -> bool:
        """Whether every case agrees in everything."""
        return {self.blocks, self.tokens, self.concurrency, self.bytes_per_token} == {self.cases}


def _load(name: str) -> Mapping[str, Any]:
    with gzip.open(FIXTURES / name, "rt", encoding="utf-8") as stream:
        loaded: Mapping[str, Any] = json.load(stream)
    return loaded


def _first(value: object) -> object:
    return value[0] if isinstance(value, list) else value


def cases() -> Iterator[Case]:
    """Every recorded case of both files."""
    given = _load("vllm.json.gz")
    for case in (*given["cases"], *given["refused"]):
        options = {
            "tensor_parallel_size": case["tp"],
            "kv_cache_dtype": case["kv_dtype"],
            "block_size": case["block_size_arg"],
            "max_model_len": case.get("max_model_len"),
            "kv_cache_memory_bytes": case.get("available_bytes"),
            "max_num_batched_tokens": case.get("max_num_batched_tokens"),
            "max_num_seqs": case.get("max_num_seqs"),
            **case["extra_args"],
        }
        yield Case(given["configs"][case["model"]], case["gpu"], options, _due(case.get("expected", {"error": ""})))
    more = _load("vllm_more.json.gz")
    for case in more["cases"]:
        options = {**case["options"], "kv_cache_memory_bytes": case["available_bytes"]}
        yield Case(more["configs"][case["model"]], case["gpu"], options, _due(case["expected"]))


def _due(expected: Mapping[str, Any]) -> tuple[object, ...] | None:
    if "error" in expected:
        return None
    numbers = (expected["num_blocks"], expected["kv_tokens"], expected["max_concurrency"])
    return (*numbers, _first(expected["bytes_per_token_per_rank"]))


def _words(options: Mapping[str, object]) -> list[str]:
    words: list[str] = ["DIR"]
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, list):
            words += [f"--{flag}", *(str(item) for item in value)]
        elif isinstance(value, dict):
            words += [f"--{flag}", json.dumps(value)]
        elif value is not None:
            words += [f"--{flag}", str(value)]
    return words


def _ranks(options: Mapping[str, object]) -> int:
    sizes = (options.get("tensor_parallel_size", 1), options.get("pipeline_parallel_size", 1))
    return int(str(sizes[0])) * int(str(sizes[1]))


def _compare(case: Case) -> Row:
    major, minor = (int(part) for part in case.card.removeprefix("cc").split("."))
    devices = tuple(
        PlanDevice(f"gpu{rank}", 80 * 1024**3, None, (major, minor), "cuda", CARDS[case.card])
        for rank in range(_ranks(case.options))
    )
    answer = plan_command(_words(case.options), Checkpoint("DIR", case.config, (), None), devices)
    if case.due is None:
        same = int(isinstance(answer, Refusal))
        return Row(1, same, same, same, same)
    if not isinstance(answer, MemoryPlan) or answer.vllm is None:
        return Row(1)
    pool = answer.vllm
    got = (pool.num_gpu_blocks, pool.kv_cache_tokens, pool.max_concurrency, pool.bytes_per_token_per_rank)
    return Row(1, *(int(mine == theirs) for mine, theirs in zip(got, case.due, strict=True)))


def main() -> int:
    """Print the table; 1 when something is not exact."""
    rows: dict[str, Row] = defaultdict(Row)
    for case in cases():
        family = architecture_of(view(case.config))[1].family
        one = _compare(case)
        for row in (rows[family], rows["all"]):
            row.cases += one.cases
            row.blocks += one.blocks
            row.tokens += one.tokens
            row.concurrency += one.concurrency
            row.bytes_per_token += one.bytes_per_token
    print("| family | cases | exact blocks | exact tokens | exact concurrency | exact bytes per token |")
    print("|---|---:|---:|---:|---:|---:|")
    total = rows.pop("all")
    for name in sorted(rows):
        print(rows[name].cells(name))
    print(total.cells("all"))
    return 0 if total.is_exact else 1


if __name__ == "__main__":
    sys.exit(main())
