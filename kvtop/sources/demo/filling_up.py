"""Long answers on a card without room: one slot near its context, and a pool that admits nobody soon."""

from kvtop.domain.sample import Sample
from kvtop.sources.demo.checkpoints import QWEN3_4B, bf16
from kvtop.sources.demo.gguf_models import llama31_8b
from kvtop.sources.demo.hardware import RTX_4090, card, host_memory
from kvtop.sources.demo.llama_servers import LlamaServer
from kvtop.sources.demo.timeline import EPOCH
from kvtop.sources.demo.vllm_servers import VllmServer

LLAMA = LlamaServer(
    pid=1500,
    port=8080,
    model=llama31_8b("/models/Llama-3.1-8B-Instruct-Q4_K_M.gguf"),
    parameters=8_030_261_312,
    told=(
        ("ctx-size", "16384", "-c"),
        ("gpu-layers", "99", "-ngl"),
        ("parallel", "2", "-np"),
        ("flash-attn", "on", "-fa"),
    ),
    slot_context_tokens=8192,
    prompts=(6_900, 400),
    tokens_per_second=9,
    generated_at_start=700,
    cycle_seconds=240.0,
)
VLLM = VllmServer(
    pid=1600,
    port=8000,
    model=bf16("/models/Qwen3-4B", QWEN3_4B),
    told=(
        ("gpu-memory-utilization", "0.64", "--gpu-memory-utilization"),
        ("max-model-len", "8192", "--max-model-len"),
    ),
    ranks=1,
    block_count=2_750,
    sequence_limit_tokens=8_192,
    used_blocks_at_start=2_100,
    blocks_per_second=3.5,
    running=14,
)


def at(second: float) -> Sample:
    """The host at that second: the slot is full after 143 seconds, the pool after 185."""
    held = {LLAMA.pid: 7_250, VLLM.core_pid: 15_740}
    return Sample(
        taken_at=EPOCH + second,
        host="workstation",
        devices=(card(second, RTX_4090, held, desktop_mib=310), host_memory(second, 64, 20)),
        processes=(LLAMA.process(), *VLLM.processes()),
        servers=(VLLM.reading(second), LLAMA.reading(second)),
        models={it.model.path: it.model for it in (LLAMA, VLLM)},
    )
