"""Counters of an engine that counts all arrays of a process together, divided by what the plan knows of them."""

from collections.abc import Sequence
from dataclasses import replace

from kvtop.domain.engine_report import RankReport, reported
from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.registry import display_name, traits_of


def on_its_card(plan: MemoryPlan, note: str, names: Sequence[str]) -> tuple[MemoryPlan | None, str]:
    """The plan of a server that counts its arrays, where a driver lists it on `names`: its arrays are on one card.

    Its rules put everything on the host, which is what one memory for all and a CPU build have. Other plans stay.
    """
    if not names or not _counts_arrays(plan):
        return plan, note
    if len(names) > 1:
        title = display_name(plan.engine)
        return None, f"its process is on {len(names)} cards, and kvtop has no rule for {title} on more than one"
    return replace(plan, devices=tuple(replace(part, name=names[0]) for part in plan.devices)), note


def divided(reports: Sequence[RankReport], plan: MemoryPlan | None, card: str | None = None) -> tuple[RankReport, ...]:
    """The reports of a server that counts its arrays, with their cache: what these hold beyond the weights.

    That is the cache of running sequences and of finished ones that are kept, and while requests run their scratch
    too. On mlx-lm 0.32.2 an idle server's arrays exceed weights and cache by about a kilobyte. Before the model is
    loaded whole they are less than its weights, and the cache stays unknown. Other engines' reports stay as they are.
    `card` is the device that the server's arrays are on, where that is not the host.
    """
    if plan is None or not _counts_arrays(plan):
        return tuple(reports)
    weights_bytes, state_bytes = plan.memory.bytes_of(Segment.WEIGHTS), plan.memory.bytes_of(Segment.RECURRENT)
    if weights_bytes is None or state_bytes is None:
        return tuple(reports)
    placed = (replace(report, device_id=card or report.device_id) for report in reports)
    return tuple(_divided(report, weights_bytes, state_bytes) for report in placed)


def _counts_arrays(plan: MemoryPlan) -> bool:
    traits = traits_of(plan.engine)
    return traits is not None and traits.cache_grows


def _divided(report: RankReport, weights_bytes: int, state_bytes: int) -> RankReport:
    if report.active_bytes is None:
        return report
    rest = report.active_bytes - weights_bytes - state_bytes
    state = ", and the state of one sequence" if state_bytes else ""
    source = (
        f"{report.source}: cache is active less the weights of the file{state} (scratch of running requests is in it), "
        "compute is freed buffers kept for reuse"
    )
    sizes = {Segment.KV_CACHE: rest if rest >= 0 else None, Segment.COMPUTE: report.kept_bytes}
    return replace(report, memory=reported(sizes, source), source=source)
