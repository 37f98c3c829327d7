"""One question for every engine: what do these launch options' cache types do to speed?"""

from kvtop.domain.answers.cache_speed import CacheSpeed, Speed
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.protocol.plan_context import PlannableModel
from kvtop.planning.registry import engine_rules


def cache_speed(
    launch: LaunchOptions,
    plan: MemoryPlan,
    model: PlannableModel | None,
    devices: tuple[PlanDevice, ...],
    *,
    version: str | None = None,
    are_devices_known: bool = True,
) -> CacheSpeed:
    """The verdict for a plan that the engine would start. `version` is the engine's, None where it is not known."""
    rules = engine_rules(launch.engine)
    if rules is None:
        return CacheSpeed(Speed.UNKNOWN, f"kvtop has no rules for {launch.engine}")
    return rules.cache_speed(launch, plan, model, devices, version=version, are_devices_known=are_devices_known)
