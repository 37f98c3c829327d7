"""The check of free memory, against sentences of vLLM that people posted, and the shares that are offered instead."""

import pytest

from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal
from kvtop.planning.vllm.planner import plan_command
from kvtop.planning.vllm.pool.free_memory import memory_refusal
from kvtop.planning.vllm.what_if.smaller_share import UTILIZATION, smaller_share
from tests.models.rule_models import checkpoints

GIB = 1 << 30


@pytest.mark.parametrize(
    ("free_gib", "total_gib", "share", "wanted"),
    # A Radeon 8060S, a DGX Spark and an RTX 3090: the numbers of three public starts, August to October 2026.
    [(7.34, 15.49, 0.8, "12.39"), (2.6, 121.63, 0.08, "9.73"), (3.25, 23.43, 0.96, "22.49")],
)
def test_the_sentence_is_vllms(free_gib: float, total_gib: float, share: float, wanted: str) -> None:
    card = PlanDevice("gpu0", round(total_gib * GIB), round(free_gib * GIB))
    assert memory_refusal((card,), share) == (
        f"Free memory on device cuda:0 ({free_gib}/{total_gib} GiB) on startup is less than desired GPU memory "
        f"utilization ({share}, {wanted} GiB). Decrease GPU memory utilization or reduce GPU memory used by other "
        "processes."
    )


def test_as_much_as_is_asked_for_is_enough_and_unknown_is_no_refusal() -> None:
    assert not memory_refusal((PlanDevice("gpu0", 100, 92),), 0.92)
    assert "cuda:1" in memory_refusal((PlanDevice("gpu0", 100, 92), PlanDevice("gpu1", 100, 91)), 0.92)
    assert not memory_refusal((PlanDevice("gpu0", 100, None), PlanDevice("gpu1", None, 1)), 0.92)


@pytest.mark.parametrize("words", [[], ["--kv-cache-memory-bytes", "1G"], ["--attention-backend", "NONSENSE"]])
def test_it_refuses_whatever_sizes_the_pool_and_before_a_missing_rule_counts(words: list[str]) -> None:
    card = PlanDevice("gpu0", 24 * GIB, 4 * GIB)
    found = plan_command(["model", *words], checkpoints()["llama-3.1-8b"], (card,))
    assert isinstance(found, Refusal)
    assert found.message.startswith("Free memory on device cuda:0 (4.0/24.0 GiB)")


@pytest.mark.parametrize(("free_gib", "is_served"), [(20, True), (12, False)])
def test_a_share_is_offered_only_where_its_own_plan_holds_a_request(free_gib: int, is_served: bool) -> None:
    model, card = checkpoints()["llama-3.1-8b"], PlanDevice("gpu0", 24 * GIB, free_gib * GIB)

    def plan_with(changes: object) -> MemoryPlan | None:
        assert isinstance(changes, dict)
        words = [word for name, value in changes.items() for word in (f"--{name}", value)]
        answer = plan_command(["model", *words], model, (card,))
        return answer if isinstance(answer, MemoryPlan) else None

    found = smaller_share((card,), plan_with)
    assert (found is not None) == is_served
    if found is not None:
        assert float(found[UTILIZATION]) <= free_gib / 24
