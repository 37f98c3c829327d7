"""What the cache types of llama.cpp do to speed, on the device that runs the model."""

from kvtop.domain.answers.cache_speed import CacheSpeed, Speed
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.llamacpp.kernel_pairs import APIS_WITH_RULES, Attending, pair_speed
from kvtop.planning.llamacpp.model.hparams import HParams
from kvtop.text import plain_number


def build_number(version: str | None) -> int | None:
    """The number of a llama.cpp build ("b11434", "b11434-1a2b3c4", "11434"), or None."""
    digits = (version or "").lstrip("b").split("-")[0]
    return plain_number(digits)


def running_api(launch: LaunchOptions, devices: tuple[PlanDevice, ...], *, are_known: bool = True) -> str | None:
    """The compute API that runs the model, or "cpu"; None where it, or what its kernels do, is not known."""
    if launch.value("device") == "none" or launch.value("gpu-layers") == "0":
        return "cpu"
    if devices:
        return devices[0].compute_api if devices[0].compute_api in APIS_WITH_RULES else None
    return "cpu" if are_known else None


def cache_speed(
    launch: LaunchOptions,
    plan: MemoryPlan,
    hparams: HParams | None,
    devices: tuple[PlanDevice, ...],
    *,
    version: str | None,
    are_devices_known: bool,
) -> CacheSpeed:
    """The verdict for a plan that the engine would start."""
    if hparams is None:
        return CacheSpeed(Speed.UNKNOWN, "the model's shapes are not known")
    attending = Attending(
        running_api(launch, devices, are_known=are_devices_known),
        build_number(version),
        devices[0].compute_capability if devices else None,
        plan.context.n_ctx_seq if plan.context is not None else 0,
        plan.flash_attention,
    )
    return pair_speed(plan.type_k or "f16", plan.type_v or plan.type_k or "f16", hparams, attending)
