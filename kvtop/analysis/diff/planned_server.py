"""A measured server as something that can be planned again with other options."""

from kvtop.analysis.diff.causes import Planned
from kvtop.analysis.planned.live_plan import running_launch
from kvtop.analysis.planned.placement import placed
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.model_file import Checkpoint, GgufHeader
from kvtop.domain.plan import MemoryPlan, NoExactRuleError
from kvtop.domain.sample import Sample
from kvtop.domain.server import ServerReading
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.protocol.plan_context import PlannableModel
from kvtop.planning.registry import plan_running


def planned_servers(sample: Sample) -> dict[str, Planned]:
    """Every server of the Sample that has a plan, by id."""
    found = ((reading.id, _planned(sample, reading)) for reading in sample.servers)
    return {server_id: planned for server_id, planned in found if planned is not None}


def _planned(sample: Sample, reading: ServerReading) -> Planned | None:
    model = sample.models.get(reading.model_key) if reading.model_key is not None else None
    if reading.launch is None or model is None:
        return None
    pids = frozenset(reading.pids)
    present = tuple(
        device
        for device in sample.devices
        if not device.is_host and any(row.pid in pids for row in device.processes or ())
    )
    devices = placed(reading, present, sample.devices).plan_devices
    draft_file = sample.models.get(reading.draft_key) if reading.draft_key is not None else None
    try:
        ready: PlannableModel = model if isinstance(model, Checkpoint) else prepare(model)
        draft = prepare(draft_file) if isinstance(draft_file, GgufHeader) else None
    except NoExactRuleError:
        return None

    started, measured = running_launch(reading)

    def replan(launch: LaunchOptions) -> MemoryPlan | None:
        try:
            plan = plan_running(launch, ready, devices, draft, measured)
        except NoExactRuleError:
            return None
        return plan if isinstance(plan, MemoryPlan) else None

    plan = replan(started)
    return None if plan is None else Planned(started, plan, replan, measured)
