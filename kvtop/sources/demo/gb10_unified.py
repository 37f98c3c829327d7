"""A GB10: the card shares the machine's memory, the driver has no total for it, but lists what processes hold."""

from kvtop.domain.device import Device, DeviceMemory, ProcessMemory
from kvtop.domain.sample import Sample
from kvtop.sources.demo.checkpoints import QWEN3_4B, bf16
from kvtop.sources.demo.gguf_models import gemma3_27b
from kvtop.sources.demo.hardware import GIB, MIB, host_memory
from kvtop.sources.demo.llama_servers import LlamaServer
from kvtop.sources.demo.timeline import EPOCH
from kvtop.sources.demo.vllm_servers import VllmServer
from kvtop.sources.devices.nvml import NVML

GEMMA = LlamaServer(
    pid=2100,
    port=8080,
    model=gemma3_27b("/models/gemma-3-27b-it-Q4_K_M.gguf"),
    parameters=27_009_346_304,
    told=(("ctx-size", "65536", "-c"), ("gpu-layers", "99", "-ngl"), ("flash-attn", "on", "-fa")),
    slot_context_tokens=65536,
    prompts=(22_000, 3_000, 0, 0),
    rss_mib=1_240,
)
VLLM = VllmServer(
    pid=2200,
    port=8000,
    model=bf16("/models/Qwen3-4B", QWEN3_4B),
    told=(
        ("gpu-memory-utilization", "0.3", "--gpu-memory-utilization"),
        ("max-model-len", "32768", "--max-model-len"),
        ("max-num-seqs", "64", "--max-num-seqs"),
        ("max-num-batched-tokens", "2048", "--max-num-batched-tokens"),
    ),
    ranks=1,
    block_count=11_800,
    sequence_limit_tokens=32_768,
    used_blocks_at_start=1_400,
    blocks_per_second=3.0,
)
HELD_MIB = {GEMMA.pid: 22_740, VLLM.core_pid: 36_760}


def at(second: float) -> Sample:
    """The host at that second."""
    host = host_memory(second, 119.6, 68)
    rows = (*(ProcessMemory(pid, size * MIB, ("compute",)) for pid, size in HELD_MIB.items()), _DESKTOP)
    gpu = Device(
        id="gpu0",
        name="NVIDIA GB10",
        driver=NVML,
        memory=DeviceMemory(host.memory.total_bytes, sum(row.used_bytes or 0 for row in rows), host.memory.free_bytes),
        processes=rows,
        measured_at=EPOCH + second,
        uuid="GPU-5a3c1f00-0000-4000-8000-00000000b10a",
        compute_capability=(12, 1),
        unified_memory=True,
        utilization_ratio=0.82,
        temperature_celsius=64.0,
        power_watts=71.0,
    )
    return Sample(
        taken_at=EPOCH + second,
        host="spark",
        devices=(gpu, host),
        processes=(GEMMA.process(), *VLLM.processes()),
        servers=(VLLM.reading(second), GEMMA.reading(second)),
        models={it.model.path: it.model for it in (GEMMA, VLLM)},
    )


_DESKTOP = ProcessMemory(980, GIB // 4, ("graphics",))
