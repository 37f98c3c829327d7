"""A processor whose graphics map the machine's own memory: Gemma 3 27B with a long context, through Vulkan."""

from kvtop.domain.sample import Sample
from kvtop.sources.demo.amd_hardware import DESKTOP_PID, strix_halo, vulkan
from kvtop.sources.demo.gguf_models import gemma3_27b
from kvtop.sources.demo.hardware import host_memory
from kvtop.sources.demo.llama_servers import LlamaServer
from kvtop.sources.demo.timeline import EPOCH

GEMMA = LlamaServer(
    pid=3120,
    port=8080,
    model=gemma3_27b("/models/gemma-3-27b-it-Q4_K_M.gguf"),
    parameters=27_009_346_304,
    told=(
        ("ctx-size", "131072", "-c"),
        ("gpu-layers", "99", "-ngl"),
        ("flash-attn", "on", "-fa"),
        ("parallel", "1", "-np"),
    ),
    slot_context_tokens=131072,
    prompts=(38_500,),
    tokens_per_second=11,
    rss_mib=1_720,
)
_TOTAL_GIB, _USED_GIB = 124.9, 41.0


def at(second: float) -> Sample:
    """The host at that second."""
    rows = (vulkan(GEMMA.pid, 26_320), vulkan(DESKTOP_PID, 410))
    available_mib = round((_TOTAL_GIB - _USED_GIB) * 1024)
    return Sample(
        taken_at=EPOCH + second,
        host="framework",
        devices=(strix_halo(second, available_mib, *rows), host_memory(second, _TOTAL_GIB, _USED_GIB)),
        processes=(GEMMA.process(),),
        servers=(GEMMA.reading(second),),
        models={GEMMA.model.path: GEMMA.model},
    )
