"""Recorded answers of vLLM's own planner, and a way to ask kvtop the same."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal
from kvtop.planning.vllm.options.parse import parse_serve_options
from kvtop.planning.vllm.planner import plan_options

GIB = 1024**3
CARDS = {
    "cc8.0": "NVIDIA A100-SXM4-80GB",
    "cc8.9": "NVIDIA L40S",
    "cc9.0": "NVIDIA H100 80GB HBM3",
    "cc10.0": "NVIDIA B200",
    "cc12.0": "NVIDIA RTX PRO 6000 Blackwell Server Edition",
}
Ask = Callable[..., MemoryPlan | Refusal]


@pytest.fixture(scope="session")
def ask() -> Ask:
    """`vllm serve DIR WORDS…` on `ranks` cards of one kind, 80 GiB each unless told otherwise; `version` is vLLM's."""

    def asked(
        config: Mapping[str, object],
        words: Sequence[str],
        *,
        card: str = "cc9.0",
        ranks: int = 1,
        total_bytes: int | None = 80 * GIB,
        checkpoint: Checkpoint | None = None,
        environ: Mapping[str, str] | None = None,
        version: str | None = None,
    ) -> MemoryPlan | Refusal:
        major, minor = (int(part) for part in card.removeprefix("cc").split("."))
        devices = tuple(
            PlanDevice(f"gpu{rank}", total_bytes, None, (major, minor), "cuda", CARDS.get(card, ""))
            for rank in range(ranks)
        )
        options = replace(parse_serve_options(["DIR", *words], environ=environ), engine_version=version)
        return plan_options(options, checkpoint or Checkpoint("DIR", config, (), None), devices)

    return asked


@pytest.fixture(scope="session")
def words_of() -> Callable[[Mapping[str, Any]], list[str]]:
    """Engine arguments as command-line words."""

    def words(options: Mapping[str, Any]) -> list[str]:
        spelled: list[str] = []
        for name, value in options.items():
            flag = name.replace("_", "-")
            if isinstance(value, bool):
                spelled.append(f"--{flag}" if value else f"--no-{flag}")
            elif isinstance(value, list):
                spelled += [f"--{flag}", *(str(item) for item in value)]
            elif isinstance(value, dict):
                spelled += [f"--{flag}", json.dumps(value)]
            elif value is not None:
                spelled += [f"--{flag}", str(value)]
        return spelled

    return words
