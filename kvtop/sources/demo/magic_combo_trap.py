"""4-bit keys under 8-bit values: keys are what 4 bits hurt most, and the pair has no kernel of its own."""

from kvtop.domain.sample import Sample
from kvtop.sources.demo.gguf_models import llama31_8b
from kvtop.sources.demo.hardware import RTX_4090, card, host_memory
from kvtop.sources.demo.llama_servers import LlamaServer
from kvtop.sources.demo.timeline import EPOCH

LLAMA = LlamaServer(
    pid=3301,
    port=8080,
    model=llama31_8b("/models/Llama-3.1-8B-Instruct-Q4_K_M.gguf"),
    parameters=8_030_261_312,
    told=(
        ("ctx-size", "65536", "-c"),
        ("gpu-layers", "99", "-ngl"),
        ("cache-type-k", "q4_0", "--cache-type-k"),
        ("cache-type-v", "q8_0", "--cache-type-v"),
        ("flash-attn", "on", "-fa"),
        ("parallel", "1", "-np"),
    ),
    slot_context_tokens=65536,
    prompts=(31_000,),
    tokens_per_second=19,
)


def at(second: float) -> Sample:
    """The host at that second."""
    return Sample(
        taken_at=EPOCH + second,
        host="workstation",
        devices=(card(second, RTX_4090, {LLAMA.pid: 8_760}, desktop_mib=540), host_memory(second, 64, 14)),
        processes=(LLAMA.process(),),
        servers=(LLAMA.reading(second),),
        models={LLAMA.model.path: LLAMA.model},
    )
