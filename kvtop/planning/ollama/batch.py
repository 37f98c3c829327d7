"""The batch that Ollama chooses where nobody set one (`automaticGenerationBatch`, server/sched.go)."""

from collections.abc import Sequence

from kvtop.domain.plan import PlanDevice

_GIB, _MIB = 1 << 30, 1 << 20
DEFAULT, MEDIUM, LARGE, CONSTRAINED = 512, 1024, 2048, 256
_SURCHARGE_BYTES = {LARGE: 2 * _GIB, MEDIUM: 768 * _MIB}
_HEADROOM_PERCENT = {LARGE: 60, MEDIUM: 75}
EMBEDDING_MOST = 2048


def generation_batch(
    tokens: int, predicted_bytes: int, available_bytes: int, devices: Sequence[PlanDevice], *, flash_attention: bool
) -> int:
    """`--batch-size` and `--ubatch-size` for a context of `tokens` in all slots together.

    `predicted_bytes` is Ollama's own guess of what the model takes, not kvtop's plan.
    """
    if not flash_attention and any(device.compute_api == "cuda" for device in devices):
        rooms = [_room_bytes(device) for device in devices if device.compute_api == "cuda"]
        return CONSTRAINED if tokens > 4096 and any(0 < room <= 8 * _GIB for room in rooms) else DEFAULT
    batch = LARGE if tokens > 32768 else MEDIUM if tokens > 4096 else DEFAULT
    while batch > DEFAULT and not _fits(batch, predicted_bytes, available_bytes):
        batch = MEDIUM if batch > MEDIUM else DEFAULT
    return batch


def _fits(batch: int, predicted_bytes: int, available_bytes: int) -> bool:
    if predicted_bytes == 0 or available_bytes == 0:
        return True
    threshold = available_bytes * 80 // 100
    if predicted_bytes > threshold or predicted_bytes > available_bytes * _HEADROOM_PERCENT[batch] // 100:
        return False
    return _SURCHARGE_BYTES[batch] <= threshold - predicted_bytes


def _room_bytes(device: PlanDevice) -> int:
    """Free memory as Ollama takes it: never more than there is."""
    total = device.total_bytes or 0
    free = device.free_bytes or 0
    return total if free == 0 or 0 < total < free else free
