"""A 12 GB Arc card whose driver tells what is used to root only, and a llama-server on it by Vulkan."""

from kvtop.domain.device import Device, DeviceMemory, ProcessMemory
from kvtop.domain.sample import Sample
from kvtop.sources.demo.gguf_models import llama31_8b
from kvtop.sources.demo.hardware import GIB, MIB, host_memory
from kvtop.sources.demo.llama_servers import LlamaServer
from kvtop.sources.demo.timeline import EPOCH
from kvtop.sources.devices.intel import XE

LLAMA = LlamaServer(
    pid=2740,
    port=8080,
    model=llama31_8b("/models/Llama-3.1-8B-Instruct-Q4_K_M.gguf"),
    parameters=8_030_261_312,
    told=(
        ("ctx-size", "32768", "-c"),
        ("gpu-layers", "99", "-ngl"),
        ("device", "Vulkan0", "-dev"),
        ("flash-attn", "on", "-fa"),
        ("parallel", "1", "-np"),
    ),
    slot_context_tokens=32768,
    prompts=(9_800,),
    tokens_per_second=27,
    rss_mib=870,
)


def at(second: float) -> Sample:
    """The host at that second."""
    return Sample(
        taken_at=EPOCH + second,
        host="minipc",
        devices=(_card(second), host_memory(second, 32, 9)),
        processes=(LLAMA.process(),),
        servers=(LLAMA.reading(second),),
        models={LLAMA.model.path: LLAMA.model},
    )


def _card(second: float) -> Device:
    rows = (ProcessMemory(LLAMA.pid, 9_020 * MIB, ("graphics",)), ProcessMemory(980, 260 * MIB, ("graphics",)))
    total, used = 12 * GIB, sum(row.used_bytes or 0 for row in rows)
    return Device(
        id="gpu0",
        name="Intel Arc B580",
        driver=XE,
        memory=DeviceMemory(total, used, total - used),
        processes=rows,
        measured_at=EPOCH + second,
        note="used is the sum of the visible processes: the driver reports the total to root only",
        temperature_celsius=58.0,
        pci_address="0000:03:00.0",
        lists_all_processes=False,
    )
