"""MLX's own counters divided: it counts all arrays of a process together and does not break them down."""

from collections.abc import Sequence
from dataclasses import replace

from kvtop.domain.engine_report import MemoryReport
from kvtop.domain.plan import MemoryPlan

MLX = "mlx"


def on_its_card(plan: MemoryPlan, note: str, names: Sequence[str]) -> tuple[MemoryPlan | None, str]:
    """The plan of an MLX server where a driver lists it on `names`: MLX with CUDA has its arrays on one card.

    Its rules put everything on the host, which is what one memory for all and the CPU build have.
    """
    if not names:
        return plan, note
    if len(names) > 1:
        return None, f"its process is on {len(names)} cards, and kvtop has no rule for MLX on more than one"
    return replace(plan, devices=tuple(replace(part, name=names[0]) for part in plan.devices)), note


def divided(
    reports: Sequence[MemoryReport], plan: MemoryPlan | None, card: str | None = None
) -> tuple[MemoryReport, ...]:
    """The reports of an MLX server with their cache: what its arrays hold beyond the weights of the model file.

    That is the cache of running sequences and of finished ones that are kept, and while requests run their scratch
    too. On mlx-lm 0.32.2 an idle server's arrays exceed weights and cache by about a kilobyte. Before the model is
    loaded whole they are less than its weights, and the cache stays unknown. Other engines' reports stay as they are.
    `card` is the device that the server's arrays are on, where that is not the host.
    """
    if plan is None or plan.engine != MLX:
        return tuple(reports)
    weights = [part.weights_bytes for part in plan.devices]
    known = [size for size in weights if size is not None]
    if not known or len(known) < len(weights):
        return tuple(reports)
    state_bytes = sum(part.recurrent_state_bytes for part in plan.devices)
    placed = (replace(report, device_id=card or report.device_id) for report in reports)
    return tuple(_divided(report, sum(known), state_bytes) for report in placed)


def _divided(report: MemoryReport, weights_bytes: int, state_bytes: int) -> MemoryReport:
    if report.active_bytes is None:
        return report
    rest = report.active_bytes - weights_bytes - state_bytes
    state = ", and the state of one sequence" if state_bytes else ""
    return replace(
        report,
        kv_cache_bytes=rest if rest >= 0 else None,
        graph_bytes=report.kept_bytes,
        source=f"{report.source}: cache is active less the weights of the file{state} (scratch of running requests is "
        "in it), compute is freed buffers kept for reuse",
    )
