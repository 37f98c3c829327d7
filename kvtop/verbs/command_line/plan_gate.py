"""What a plan means for a gate: `kvtop plan -- CMD && CMD` must not start what will not fit, nor refuse what will."""

from kvtop.domain.answers.frontier import Frontier
from kvtop.domain.answers.plan_answer import PlanAnswer
from kvtop.domain.answers.room import Fit
from kvtop.verbs.command_line import exit_codes

_HOST = "host"
_UNKNOWN = "whether it fits is not known: nothing says how much memory there is. Name the device with --gpu"


def gate(answer: PlanAnswer, *, allow_tight: bool) -> tuple[int, str]:
    """The exit code of a plan, and the sentence that stderr needs because the plan itself does not say it ("").

    A device whose memory is unknown opens no gate. The host is left out where --gpu names another machine, whose host
    nobody stated. A part that no rule knows does not count: what is known must fit.
    """
    if answer.refusal:
        return exit_codes.REFUSED, answer.refusal
    pool = answer.plan.vllm.pool_estimate if answer.plan.vllm is not None else None
    if pool is not None and pool.tokens_high == 0:
        return exit_codes.REFUSED, ""
    accelerators = [room for room in answer.rooms if room.name != _HOST]
    rooms = [room for room in answer.rooms if room.room_bytes is not None or not accelerators or room.name != _HOST]
    if any(room.room_bytes is None for room in rooms):
        return exit_codes.FINDING, _UNKNOWN
    if any(room.fit is Fit.TOO_LARGE for room in rooms):
        return exit_codes.FINDING, ""
    is_tight = any(room.fit is Fit.TIGHT for room in rooms) or (pool is not None and pool.tokens_low == 0)
    return (exit_codes.FINDING if is_tight and not allow_tight else exit_codes.OK), ""


def frontier_gate(found: Frontier, *, allow_tight: bool) -> int:
    """The exit code of a grid: 1 where everything that is known of it does not fit."""
    fits = {cell.fit for row in found.rows for cell in row.cells} - {Fit.UNKNOWN}
    good = {Fit.FITS, Fit.TIGHT} if allow_tight else {Fit.FITS}
    return exit_codes.FINDING if fits and not fits & good else exit_codes.OK
