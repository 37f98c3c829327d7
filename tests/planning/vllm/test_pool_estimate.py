"""The likely pool beside what public logs of vLLM said of it."""

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from kvtop.domain.plan import MemoryPlan, PoolEstimate
from tests.bench.vllm_commands import plan_row

GIB = 2**30
_LOGS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "vllm_pools" / "logs.json").read_text(encoding="utf-8")
)


def _pool(log: dict[str, Any], version: str | None = None) -> PoolEstimate:
    text, share = log["command"], log["reported"].get("gpu_memory_utilization")
    if share and "utilization" not in text:
        text += f" --gpu-memory-utilization {share}"
    said = version or log["version"].split(" ")[0]
    row = plan_row(log["id"], text, {"config.json": log["config"]}, log["gpu"], said)
    assert isinstance(row.plan, MemoryPlan), row.said
    assert row.plan.vllm is not None
    assert row.plan.vllm.pool_estimate is not None, row.said
    return row.plan.vllm.pool_estimate


def _middle(log: dict[str, Any], version: str | None = None) -> int:
    return _pool(log, version).pool.value_bytes or 0


def _ends(log: dict[str, Any]) -> tuple[int, int]:
    pool = _pool(log).pool
    return pool.least_bytes, pool.most_bytes or 0


def test_the_middle_is_within_five_percent_of_the_logs_in_the_median() -> None:
    errors = [abs(_middle(log) / GIB / log["reported"]["available_kv_gib"] - 1) for log in _LOGS]
    assert len(errors) >= 15
    assert statistics.median(errors) < 0.03


def test_the_truth_is_in_the_range() -> None:
    missed = []
    for log in _LOGS:
        low, high = _ends(log)
        if not low <= log["reported"]["available_kv_gib"] * GIB <= high:
            missed.append(log["id"])
    assert len(missed) <= len(_LOGS) * 0.1, missed


@pytest.mark.parametrize(
    "log", [it for it in _LOGS if it["reported"]["available_kv_gib"] > 20], ids=lambda it: it["id"]
)
def test_the_range_of_a_large_pool_is_narrow(log: dict[str, Any]) -> None:
    low, high = _ends(log)
    assert high - low <= 0.25 * _middle(log)


def _with(log: dict[str, Any], words: str) -> dict[str, Any]:
    return {**log, "command": f"{log['command']} {words}"}


def test_fewer_sequences_and_no_graphs_leave_more() -> None:
    log = next(it for it in _LOGS if it["id"] == "llmd-llama-3.1-8b")
    usual = _middle(log)
    assert _middle(_with(log, "--max-num-seqs 64")) > usual + 3 * GIB
    later = _middle(log, "0.24.0")
    assert _middle(_with(log, "--enforce-eager"), "0.24.0") > later + 0.3 * GIB


def test_a_version_decides_what_is_measured() -> None:
    log = next(it for it in _LOGS if it["id"] == "llmd-qwen3-0.6b")
    pools = [_middle(log, version) for version in ("0.11.0", "0.19.0", "0.32.0")]
    assert pools == sorted(pools)
