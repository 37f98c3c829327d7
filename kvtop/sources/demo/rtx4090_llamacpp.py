"""One 24 GB card and one llama-server of a model that just fits it."""

from kvtop.domain.sample import Sample
from kvtop.sources.demo.gguf_models import gemma3_27b
from kvtop.sources.demo.hardware import RTX_4090, card, host_memory
from kvtop.sources.demo.llama_servers import LlamaServer
from kvtop.sources.demo.timeline import EPOCH

GEMMA = LlamaServer(
    pid=4711,
    port=8080,
    model=gemma3_27b("/models/gemma-3-27b-it-Q4_K_M.gguf"),
    parameters=27_009_346_304,
    told=(
        ("ctx-size", "32768", "-c"),
        ("cache-type-k", "q8_0", "-ctk"),
        ("cache-type-v", "q8_0", "-ctv"),
        ("flash-attn", "on", "-fa"),
        ("metrics", "true", "--metrics"),
    ),
    slot_context_tokens=32768,
    prompts=(14200, 6100, 900, 0),
    tokens_per_second=18,
    generated_at_start=2_200,
    pool_tokens=32_768,
    cycle_seconds=260.0,
    rss_mib=1_650,
)


def at(second: float) -> Sample:
    """The host at that second: three long answers fill the pool of all slots after 214 seconds."""
    return Sample(
        taken_at=EPOCH + second,
        host="workstation",
        devices=(card(second, RTX_4090, {4711: 18_140}, desktop_mib=612), host_memory(second, 64, 19)),
        processes=(GEMMA.process(),),
        servers=(GEMMA.reading(second),),
        models={GEMMA.model.path: GEMMA.model},
    )
