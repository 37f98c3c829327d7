"""What a plan says of vLLM's pool, whether it was stated or is likely."""

import re
from dataclasses import dataclass, replace
from math import prod

from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.text import plain_number

FP8 = frozenset({"fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc"})
SIXTEEN_BITS = frozenset({None, "auto", "float16", "bfloat16"})
"""Of `--kv-cache-dtype`."""
DEFAULT_UTILIZATION = 0.92
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Concurrency:
    """Requests of the longest permitted length that fit at once; equal bounds are exact."""

    value: float
    low: float
    high: float


def concurrency_of(plan: MemoryPlan) -> Concurrency | None:
    """None where it depends on memory that nobody stated."""
    pool = plan.vllm
    if pool is None:
        return None
    if pool.max_concurrency is not None:
        return Concurrency(pool.max_concurrency, pool.max_concurrency, pool.max_concurrency)
    likely = pool.pool_estimate
    if likely is None:
        return None
    return Concurrency(likely.concurrency, likely.concurrency_low, likely.concurrency_high)


def utilization_of(target: LintTarget) -> float:
    """`--gpu-memory-utilization` as given, or vLLM's default."""
    value = target.value("gpu-memory-utilization")
    found = None if value is None else _NUMBER.fullmatch(value.strip())
    return DEFAULT_UTILIZATION if found is None else float(found[0])


def whole(target: LintTarget, name: str) -> int | None:
    """A number among the options, with vLLM's suffixes left to the planner: None where it is not plain."""
    value = (target.value(name) or "").strip()
    return plain_number(value)


def serves_text(target: LintTarget) -> bool:
    """Whether it generates: embedding and pooling models have little use for a pool."""
    return target.value("runner") in {None, "auto", "generate"} and target.value("convert") in {None, "auto", "none"}


RANK_OPTIONS = ("tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size")


def ranks_of(launch: LaunchOptions) -> int:
    """The cards that a command line asks for."""
    values = ((launch.value(name) or "").strip() for name in RANK_OPTIONS)
    return prod(number for value in values if (number := plain_number(value)))


def one_card_for_every_rank(devices: tuple[PlanDevice, ...], ranks: int) -> tuple[PlanDevice, ...]:
    """A single named card stands for all: `--gpu H100` for eight ranks is eight of them."""
    if len(devices) != 1 or ranks <= 1:
        return devices
    return tuple(replace(devices[0], name=f"gpu{rank}") for rank in range(min(ranks, 1024)))
