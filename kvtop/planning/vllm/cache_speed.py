"""What the cache types of vLLM do to speed."""

from kvtop.domain.answers.cache_speed import CacheSpeed, Speed
from kvtop.domain.plan import PlanDevice

_SOURCE = "vLLM 0.32.0, v1/attention/backends"
_PLAIN = frozenset({"auto", "float16", "bfloat16"})
_FP8 = frozenset({"fp8", "fp8_e4m3", "fp8_e5m2"})


def cache_speed(dtype: str, devices: tuple[PlanDevice, ...]) -> CacheSpeed:
    """The verdict for a cache of this `--kv-cache-dtype`."""
    if dtype in _PLAIN:
        return CacheSpeed(Speed.FINE, source=_SOURCE)
    if dtype.startswith("turboquant"):
        return CacheSpeed(Speed.CONVERTS, f"{dtype} is unpacked on every read: 10 to 68 % slower in vLLM's own study")
    capability = devices[0].compute_capability if devices else None
    if dtype not in _FP8 or capability is None:
        return CacheSpeed(Speed.UNKNOWN, f"how fast {dtype} is on this device is not known", _SOURCE)
    if capability < (8, 9):
        told = (
            f"no FP8 arithmetic before compute capability 8.9, and only FlashInfer reads {dtype} there: room, not speed"
        )
        return CacheSpeed(Speed.CONVERTS, told, _SOURCE)
    return CacheSpeed(Speed.FINE, source=_SOURCE)
