"""One 24 GB card under a desktop, and two llama-servers on it: one built for ROCm, one for Vulkan."""

from kvtop.domain.sample import Sample
from kvtop.sources.demo.amd_hardware import DESKTOP_PID, rocm, rx_7900_xtx, vulkan
from kvtop.sources.demo.gguf_models import llama31_8b
from kvtop.sources.demo.hardware import host_memory
from kvtop.sources.demo.llama_servers import LlamaServer
from kvtop.sources.demo.timeline import EPOCH

CODER = LlamaServer(
    pid=5210,
    port=8080,
    model=llama31_8b("/models/Llama-3.1-8B-Instruct-Q4_K_M.gguf"),
    parameters=8_030_261_312,
    told=(
        ("ctx-size", "65536", "-c"),
        ("gpu-layers", "99", "-ngl"),
        ("flash-attn", "on", "-fa"),
        ("parallel", "1", "-np"),
    ),
    slot_context_tokens=65536,
    prompts=(22_400,),
    tokens_per_second=41,
    rss_mib=910,
    program="/opt/llama.cpp-rocm/bin/llama-server",
)
CHAT = LlamaServer(
    pid=5390,
    port=8081,
    model=llama31_8b("/models/Llama-3.1-8B-Instruct-Q4_K_M.gguf"),
    parameters=8_030_261_312,
    told=(
        ("ctx-size", "16384", "-c"),
        ("gpu-layers", "99", "-ngl"),
        ("cache-type-k", "q8_0", "-ctk"),
        ("cache-type-v", "q8_0", "-ctv"),
        ("flash-attn", "on", "-fa"),
        ("parallel", "2", "-np"),
    ),
    slot_context_tokens=8192,
    prompts=(3_100, 0),
    tokens_per_second=24,
    rss_mib=640,
    program="/opt/llama.cpp-vulkan/bin/llama-server",
)


def at(second: float) -> Sample:
    """The host at that second."""
    rows = (rocm(CODER.pid, 13_520, 380), vulkan(CHAT.pid, 5_990, 210), vulkan(DESKTOP_PID, 730, 96))
    return Sample(
        taken_at=EPOCH + second,
        host="workbench",
        devices=(rx_7900_xtx(second, *rows), host_memory(second, 64, 17)),
        processes=(CODER.process(), CHAT.process()),
        servers=(CODER.reading(second), CHAT.reading(second)),
        models={CODER.model.path: CODER.model},
    )
