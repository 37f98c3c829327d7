"""Eight H100: one model over all of them, a second over the last four."""

from kvtop.domain.sample import Sample
from kvtop.sources.demo.checkpoints import LLAMA_70B, QWEN3_32B, bf16
from kvtop.sources.demo.hardware import H100, card, host_memory
from kvtop.sources.demo.timeline import EPOCH
from kvtop.sources.demo.vllm_servers import VllmServer

LLAMA = VllmServer(
    pid=21000,
    port=8000,
    model=bf16("/models/Llama-3.3-70B-Instruct", LLAMA_70B),
    told=(
        ("tensor-parallel-size", "8", "--tensor-parallel-size"),
        ("gpu-memory-utilization", "0.55", "--gpu-memory-utilization"),
        ("max-model-len", "131072", "--max-model-len"),
    ),
    ranks=8,
    block_count=38_600,
    sequence_limit_tokens=131_072,
    used_blocks_at_start=21_400,
    blocks_per_second=42.0,
    running=37,
)
QWEN = VllmServer(
    pid=22000,
    port=8001,
    model=bf16("/models/Qwen3-32B", QWEN3_32B),
    told=(
        ("tensor-parallel-size", "4", "--tensor-parallel-size"),
        ("gpu-memory-utilization", "0.35", "--gpu-memory-utilization"),
        ("kv-cache-dtype", "fp8", "--kv-cache-dtype"),
    ),
    ranks=4,
    block_count=19_800,
    sequence_limit_tokens=40_960,
    used_blocks_at_start=3_100,
    blocks_per_second=9.0,
)


def at(second: float) -> Sample:
    """The host at that second."""
    cards = []
    for index in range(8):
        held = {LLAMA.worker_pids[index]: 44_900}
        if index >= 4:
            held[QWEN.worker_pids[index - 4]] = 28_560
        cards.append(card(second, H100, held, index=index, busy_ratio=0.97 if index >= 4 else 0.88))
    return Sample(
        taken_at=EPOCH + second,
        host="dgx-h100",
        devices=(*cards, host_memory(second, 2016, 148)),
        processes=(*LLAMA.processes(), *QWEN.processes()),
        servers=(LLAMA.reading(second), QWEN.reading(second)),
        models={it.model.path: it.model for it in (LLAMA, QWEN)},
    )
