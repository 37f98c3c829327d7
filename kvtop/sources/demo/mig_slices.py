"""An H100 cut into slices, a server on two of them. The card itself lists nobody: its slices do."""

from dataclasses import replace

from kvtop.domain.device import Device, DeviceMemory, ProcessMemory
from kvtop.domain.sample import Sample
from kvtop.sources.demo.checkpoints import LLAMA_8B, bf16
from kvtop.sources.demo.gguf_models import llama31_8b
from kvtop.sources.demo.hardware import H100, MIB, card, host_memory
from kvtop.sources.demo.llama_servers import LlamaServer
from kvtop.sources.demo.timeline import EPOCH
from kvtop.sources.demo.vllm_servers import VllmServer
from kvtop.sources.devices.nvml import NVML

VLLM = VllmServer(
    pid=7100,
    port=8000,
    model=bf16("/models/Llama-3.1-8B-Instruct", LLAMA_8B),
    told=(("max-model-len", "16384", "--max-model-len"),),
    ranks=1,
    block_count=9_680,
    sequence_limit_tokens=16_384,
    used_blocks_at_start=2_000,
    blocks_per_second=4.0,
)
LLAMA = LlamaServer(
    pid=7200,
    port=8080,
    model=llama31_8b("/models/Llama-3.1-8B-Instruct-Q4_K_M.gguf"),
    parameters=8_030_261_312,
    told=(("ctx-size", "32768", "-c"), ("gpu-layers", "99", "-ngl"), ("flash-attn", "on", "-fa")),
    slot_context_tokens=32768,
    prompts=(9_000, 2_000, 0, 0),
)
_SLICES = (("3g.40gb", 40_192, VLLM.core_pid, 36_980), ("2g.20gb", 19_968, LLAMA.pid, 9_375), ("1g.10gb", 9_728, 0, 0))


def at(second: float) -> Sample:
    """The host at that second."""
    slices = tuple(_slice(second, index) for index in range(len(_SLICES)))
    whole = card(second, H100, {})
    used = sum(it.memory.used_bytes or 0 for it in slices)
    total, reserved = whole.memory.total_bytes or 0, whole.memory.reserved_bytes or 0
    parent = replace(whole, memory=DeviceMemory(total, used, total - used - reserved, reserved), utilization_ratio=None)
    return Sample(
        taken_at=EPOCH + second,
        host="shared-h100",
        devices=(parent, *slices, host_memory(second, 256, 30)),
        processes=(*VLLM.processes(), LLAMA.process()),
        servers=(VLLM.reading(second), LLAMA.reading(second)),
        models={it.model.path: it.model for it in (VLLM, LLAMA)},
    )


def _slice(second: float, index: int) -> Device:
    """A slice: memory and processes are its own, power and temperature the card's."""
    profile, total_mib, pid, held_mib = _SLICES[index]
    used_mib = held_mib + 38
    memory = DeviceMemory(total_mib * MIB, used_mib * MIB, (total_mib - used_mib) * MIB, 0)
    return Device(
        id=f"gpu0:mig{index}",
        name=f"{H100.name} MIG {profile}",
        driver=NVML,
        memory=memory,
        processes=(ProcessMemory(pid, held_mib * MIB, ("compute",)),) if pid else (),
        measured_at=EPOCH + second,
        uuid=f"MIG-5a3c1f00-0000-4000-8000-{index:012x}",
        parent_id="gpu0",
        compute_capability=H100.compute_capability,
    )
