"""A Mac: one memory for all, an MLX server whose cache grows with what it is asked."""

from kvtop.domain.device import Device, DeviceMemory
from kvtop.domain.sample import Sample
from kvtop.sources.demo.checkpoints import QWEN3_14B, mlx_4bit
from kvtop.sources.demo.hardware import GIB, host_memory
from kvtop.sources.demo.mlx_servers import MlxServer
from kvtop.sources.demo.timeline import EPOCH
from kvtop.sources.devices.apple import APPLE

QWEN = MlxServer(
    pid=5120,
    port=8080,
    model=mlx_4bit("/Users/sam/models/Qwen3-14B-4bit", QWEN3_14B),
    told=(("prompt-cache-size", "4", "--prompt-cache-size"),),
)
WIRED_LIMIT_BYTES = 27 * GIB
"""What Metal will wire of 36 GiB (`iogpu.wired_limit_mb` at its default)."""


def at(second: float) -> Sample:
    """The host at that second. The process grows by a conversation's cache, 160 KiB a token."""
    rss_mib = 8_890 + int(min(second, 240) * 4)
    return Sample(
        taken_at=EPOCH + second,
        host="macbook",
        devices=(_gpu(second, rss_mib), host_memory(second, 36, 21 + rss_mib / 1024 - 8.7)),
        processes=(QWEN.process(rss_mib),),
        servers=(QWEN.reading(),),
        models={QWEN.model.path: QWEN.model},
    )


def _gpu(second: float, rss_mib: int) -> Device:
    """The GPU as IOKit describes it: the machine's figures, and nobody's share in them."""
    used = int(rss_mib * 1024 * 1024 + 1.3 * GIB)
    return Device(
        id="gpu0",
        name="Apple M4 Pro",
        driver=APPLE,
        memory=DeviceMemory(WIRED_LIMIT_BYTES, used, WIRED_LIMIT_BYTES - used),
        processes=None,
        measured_at=EPOCH + second,
        unified_memory=True,
        utilization_ratio=0.71,
    )
