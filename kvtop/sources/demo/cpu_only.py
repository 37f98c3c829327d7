"""A host without an accelerator."""

from kvtop.domain.sample import Failure, Sample
from kvtop.sources.demo.gguf_models import llama31_8b
from kvtop.sources.demo.hardware import host_memory
from kvtop.sources.demo.llama_servers import LlamaServer
from kvtop.sources.demo.timeline import EPOCH

LLAMA = LlamaServer(
    pid=812,
    port=8081,
    model=llama31_8b("/models/Llama-3.1-8B-Instruct-Q4_K_M.gguf"),
    parameters=8_030_261_312,
    told=(("ctx-size", "16384", "-c"), ("parallel", "2", "-np")),
    slot_context_tokens=8192,
    prompts=(3100, 0),
    rss_mib=7_050,
)


def at(second: float) -> Sample:
    """The host at that second."""
    return Sample(
        taken_at=EPOCH + second,
        host="small-box",
        devices=(host_memory(second, 32, 11),),
        processes=(LLAMA.process(),),
        servers=(LLAMA.reading(second),),
        models={LLAMA.model.path: LLAMA.model},
        failures=(
            Failure("nvml", "no NVIDIA driver library on this machine", "nothing to do unless it has an NVIDIA card"),
        ),
    )
