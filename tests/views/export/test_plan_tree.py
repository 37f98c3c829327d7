"""The plan as text: whole, within 80 columns, and honest about what is not known."""

import pytest

from kvtop.domain.answers.plan_answer import Check, DeviceFit, PlanAnswer, device_fit
from kvtop.domain.answers.room import Fit, Room
from kvtop.domain.figure import Figure
from kvtop.domain.memory import CACHES, Segment
from kvtop.domain.plan import CachePart, DeviceShare, MemoryPlan, Step, VllmPlan
from kvtop.views.text.plan_tree import plan_tree
from tests.amounts import share

MIB = 1024**2
PART = share("gpu0", 100 * MIB, 50 * MIB, 0, Figure.estimated(20 * MIB, 10 * MIB, 40 * MIB))


def answer(room_bytes: int | None, part: DeviceShare = PART) -> PlanAnswer:
    plan = MemoryPlan(
        engine="llama.cpp",
        rules_version="llama.cpp b1",
        model="A model with a name that is so long that it takes more than one line of a terminal of the usual width",
        architecture="llama",
        devices=(part,),
        bytes_per_token=1024.0,
        cache_parts=(CachePart("sliding_window", 50 * MIB, 3, 512), CachePart("recurrent", 7, 3, None)),
        steps=(Step("first " + "and then something that needs more room " * 3, "a rule in some/file.cpp"),),
        warnings=("careful " * 20,),
    )
    return PlanAnswer(plan, (device_fit(part, None if room_bytes is None else Room(room_bytes, room_bytes), "RTX 1"),))


@pytest.mark.parametrize(
    ("room_mib", "fit", "words"),
    [
        (190, Fit.FITS, "fits, 20.0 MiB left"),
        (189, Fit.TIGHT, "fits unless the estimate is at its high end"),
        (170, Fit.TIGHT, "fits unless the estimate is at its high end"),
        (169, Fit.TOO_LARGE, "does not fit, 1.00 MiB too much"),
    ],
)
def test_verdicts_at_their_borders(room_mib: int, fit: Fit, words: str) -> None:
    found = answer(room_mib * MIB)
    assert found.rooms[0].fit is fit
    assert words in plan_tree(found, explain=False)


def test_unknown_room_is_no_verdict() -> None:
    text = plan_tree(answer(None), explain=False)
    assert "fit" not in text
    assert "170 MiB" in text


def test_unknown_parts_are_never_zero() -> None:
    part = share("gpu0", 100 * MIB, None, 0)
    text = plan_tree(answer(200 * MIB, part), explain=False)
    (row,) = [line for line in text.splitlines() if "KV cache" in line]
    assert row.split()[-2:] == ["?", "unknown"]
    assert "≥ 100 MiB  at least; 100 MiB left for the rest" in text
    assert DeviceFit("gpu0", Figure.computed(3), Room(2), is_whole=False).fit is Fit.TOO_LARGE


@pytest.mark.parametrize("ascii_only", [False, True])
def test_every_line_fits_and_ascii_is_ascii(ascii_only: bool) -> None:
    found = answer(190 * MIB)
    checked = PlanAnswer(
        **{name: getattr(found, name) for name in ("plan", "rooms")},
        largest_context_tokens=4096,
        is_trained_limit=True,
        assumption="every layer is plain full attention",
        notes=("a note " * 30,),
        checks=(Check("gpu0", (Segment.WEIGHTS,), 100, 100), Check("gpu0", CACHES, 50, 51)),
        check_note="compared " * 20,
    )
    text = plan_tree(checked, explain=True, ascii_only=ascii_only)
    assert max(map(len, text.splitlines())) <= 80
    assert text.isascii() is ascii_only
    assert "it says 51 MiB" in text
    assert "4096 tokens (4k), the full trained context" in text
    assert "\x1b" not in text


def test_vllm_says_blocks_and_concurrency() -> None:
    found = answer(None)
    vllm = VllmPlan(1.0, 2, 16, 1000, 16000, 3.906)
    plan = MemoryPlan(
        "vllm", "vLLM 0", "m", "LlamaForCausalLM", (PART,), bytes_per_token=None, cache_parts=(), vllm=vllm
    )
    text = plan_tree(PlanAnswer(plan, found.rooms), explain=False)
    assert "1000 blocks of 16 tokens; 15.6k tokens; maximum concurrency 3.91x" in text
    assert "per token" in text
