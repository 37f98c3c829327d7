"""What a process can have of a device: the reserve, and the one verdict on a plan."""

from dataclasses import replace

import pytest

from kvtop.domain.answers.plan_answer import DeviceFit
from kvtop.domain.answers.room import Fit, Room, room_of, verdict
from kvtop.domain.figure import Figure
from kvtop.domain.plan import PlanDevice, PoolEstimate
from kvtop.planning.gpus.reserve import FreeSays, as_seen, with_reserve
from kvtop.planning.gpus.specs import parse_gpu_specs

MIB = 2**20


def _room(spec: str) -> Room:
    room = room_of(parse_gpu_specs([spec])[0])
    assert room is not None
    return room


def test_a_plan_is_held_against_both_ends_of_what_is_left() -> None:
    room = Room(1000, 1000, Figure.estimated(300, 100, 600))
    assert [verdict(Figure.computed(size), room) for size in (400, 401, 900, 901)] == [
        Fit.FITS,
        Fit.TIGHT,
        Fit.TIGHT,
        Fit.TOO_LARGE,
    ]
    assert verdict(Figure.estimated(300, 200, 401), room) is Fit.TIGHT
    assert verdict(Figure.estimated(300, 200, 400), room, is_whole=False) is Fit.UNKNOWN
    assert verdict(Figure.estimated(1, 1, 1), None) is Fit.UNKNOWN


def test_a_need_that_is_unknown_neither_fits_nor_is_tight() -> None:
    """Taken as nothing, it would fit everywhere."""
    room = Room(1000, 1000, Figure.estimated(300, 100, 600))
    unknown = Figure.computed(None)
    assert verdict(unknown, room) is verdict(unknown, Room(0)) is Fit.UNKNOWN
    at_least = [replace(unknown, low_bytes=least) for least in (900, 901)]
    assert [verdict(it, room) for it in at_least] == [Fit.UNKNOWN, Fit.TOO_LARGE]


def test_a_size_may_be_a_cards_or_what_is_free_on_it_and_free_is_what_the_process_sees() -> None:
    bare, free, named = _room("24GiB"), _room("24GiB,free=24GiB"), _room("RTX 4090")
    assert bare.high_bytes == 24 * 1024 * MIB
    assert (free.reserve.most_bytes or 0) < (bare.reserve.most_bytes or 0)
    assert named.reserve.least_bytes > bare.reserve.least_bytes == 0
    assert free.low_bytes < free.high_bytes == free.available_bytes


@pytest.mark.parametrize("spec", ["1GiB", "64GiB,backend=metal", "600MiB,free=500MiB"])
def test_nothing_is_reserved_where_nothing_is_known_of_the_driver(spec: str) -> None:
    assert _room(spec).reserve.is_nothing


def test_the_process_finds_its_context_gone_and_the_verdict_stays_the_same() -> None:
    device = with_reserve(PlanDevice("gpu0", 8192 * MIB, 8000 * MIB), FreeSays.DRIVER)
    seen = as_seen(device)
    assert seen.free_bytes == 7700 * MIB
    before, after = room_of(device), room_of(seen)
    assert before is not None
    assert after is not None
    assert (before.low_bytes, before.value_bytes, before.high_bytes) == (
        after.low_bytes,
        after.value_bytes,
        after.high_bytes,
    )


def test_a_share_that_holds_no_request_does_not_fit() -> None:
    def fit(tokens_low: int, tokens_high: int) -> Fit:
        pool = PoolEstimate(Figure.estimated(1, 0, 2), tokens_low, tokens_low, tokens_high, 1, 1, 1)
        return DeviceFit("gpu0", Figure.computed(10), Room(10, 12), pool=pool).fit

    assert [fit(5, 9), fit(0, 9), fit(0, 0)] == [Fit.FITS, Fit.TIGHT, Fit.TOO_LARGE]


def test_a_card_of_two_gib_is_one_whose_driver_takes_its_context() -> None:
    card = PlanDevice("gpu0", 2 << 30, None, (8, 9), "cuda", "")
    assert with_reserve(card, FreeSays.DRIVER).own_context.value_bytes
    smaller = replace(card, total_bytes=(2 << 30) - 1)
    assert with_reserve(smaller, FreeSays.DRIVER) == smaller
