"""One question for every engine: what do these launch options' cache types do to speed?"""

from kvtop.domain.answers.cache_speed import CacheSpeed, Speed
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.llamacpp.kernel_pairs import Attending, pair_speed
from kvtop.planning.llamacpp.model.hparams import HParams

_VLLM = "vLLM 0.32.0, v1/attention/backends"
_VLLM_PLAIN = frozenset({"auto", "float16", "bfloat16"})
_VLLM_FP8 = frozenset({"fp8", "fp8_e4m3", "fp8_e5m2"})


def build_number(version: str | None) -> int | None:
    """The number of a llama.cpp build ("b11434", "b11434-1a2b3c4", "11434"), or None."""
    digits = (version or "").lstrip("b").split("-")[0]
    return int(digits) if digits.isdecimal() else None


def backend_of(launch: LaunchOptions, devices: tuple[PlanDevice, ...], *, are_known: bool = True) -> str | None:
    """What runs the model: "cuda", "rocm", "metal", "vulkan" or "cpu"; None where nobody knows."""
    if launch.value("device") == "none" or launch.value("gpu-layers") == "0":
        return "cpu"
    if devices:
        named = devices[0].compute_api
        return None if named == "unknown" else named
    return "cpu" if are_known else None


def cache_speed(
    launch: LaunchOptions,
    plan: MemoryPlan,
    hparams: HParams | None,
    devices: tuple[PlanDevice, ...],
    *,
    version: str | None = None,
    are_devices_known: bool = True,
) -> CacheSpeed:
    """The verdict for a plan that the engine would start. `hparams` of llama.cpp's model; `version` of the engine."""
    if launch.engine == "llama.cpp":
        if hparams is None:
            return CacheSpeed(Speed.UNKNOWN, "the model's shapes are not known")
        attending = Attending(
            backend_of(launch, devices, are_known=are_devices_known),
            build_number(version),
            devices[0].compute_capability if devices else None,
            plan.context.n_ctx_seq if plan.context is not None else 0,
            plan.flash_attention,
        )
        return pair_speed(plan.type_k or "f16", plan.type_v or plan.type_k or "f16", hparams, attending)
    if launch.engine == "vllm":
        return _vllm(launch.value("kv-cache-dtype") or "auto", devices)
    if launch.engine == "mlx" and launch.value("kv-bits") is not None:
        return CacheSpeed(
            Speed.ONE_AT_A_TIME, "with --kv-bits the server answers one request at a time", "mlx-lm 0.32.2, server.py"
        )
    return CacheSpeed(Speed.FINE)


def _vllm(dtype: str, devices: tuple[PlanDevice, ...]) -> CacheSpeed:
    if dtype in _VLLM_PLAIN:
        return CacheSpeed(Speed.FINE, source=_VLLM)
    if dtype.startswith("turboquant"):
        return CacheSpeed(Speed.CONVERTS, f"{dtype} is unpacked on every read: 10 to 68 % slower in vLLM's own study")
    capability = devices[0].compute_capability if devices else None
    if dtype not in _VLLM_FP8 or capability is None:
        return CacheSpeed(Speed.UNKNOWN, f"how fast {dtype} is on this device is not known", _VLLM)
    if capability < (8, 9):
        told = (
            f"no FP8 arithmetic before compute capability 8.9, and only FlashInfer reads {dtype} there: room, not speed"
        )
        return CacheSpeed(Speed.CONVERTS, told, _VLLM)
    return CacheSpeed(Speed.FINE, source=_VLLM)
