"""Two servers that gave their memory back: a llama-server that unloaded, a vLLM whose weights wait in host memory."""

from dataclasses import replace

from kvtop.domain.sample import Sample
from kvtop.domain.server import Counters, ServerState
from kvtop.sources.demo.checkpoints import QWEN3_4B, bf16
from kvtop.sources.demo.gguf_models import llama31_8b
from kvtop.sources.demo.hardware import MIB, RTX_4090, card, host_memory
from kvtop.sources.demo.llama_servers import LlamaServer
from kvtop.sources.demo.timeline import EPOCH
from kvtop.sources.demo.vllm_servers import VllmServer

LLAMA = LlamaServer(
    pid=2500,
    port=8080,
    model=llama31_8b("/models/Llama-3.1-8B-Instruct-Q4_K_M.gguf"),
    parameters=8_030_261_312,
    told=(
        ("ctx-size", "16384", "-c"),
        ("gpu-layers", "99", "-ngl"),
        ("sleep-idle-seconds", "300", "--sleep-idle-seconds"),
    ),
    slot_context_tokens=16384,
    prompts=(0, 0, 0, 0),
    rss_mib=410,
)
VLLM = VllmServer(
    pid=2600,
    port=8000,
    model=bf16("/models/Qwen3-4B", QWEN3_4B),
    told=(
        ("enable-sleep-mode", "true", "--enable-sleep-mode"),
        ("gpu-memory-utilization", "0.6", "--gpu-memory-utilization"),
        ("max-model-len", "8192", "--max-model-len"),
    ),
    ranks=1,
    block_count=2_380,
    sequence_limit_tokens=8_192,
    used_blocks_at_start=0,
    blocks_per_second=0.0,
    running=0,
)


def at(second: float) -> Sample:
    """The host at that second."""
    core = next(it for it in VLLM.processes() if it.pid == VLLM.core_pid)
    holding_weights = replace(core, rss_bytes=9_950 * MIB)
    front = VLLM.processes()[0]
    llama = replace(LLAMA.reading(second), state=ServerState.SLEEPING, slots=None, counters=Counters())
    vllm = replace(VLLM.reading(second), state=ServerState.SLEEPING, sleep_level=1)
    return Sample(
        taken_at=EPOCH + second,
        host="workstation",
        devices=(
            card(second, RTX_4090, {LLAMA.pid: 392, VLLM.core_pid: 1_120}, desktop_mib=310, busy_ratio=0.0),
            host_memory(second, 64, 24),
        ),
        processes=(LLAMA.process(), front, holding_weights),
        servers=(vllm, llama),
        models={it.model.path: it.model for it in (LLAMA, VLLM)},
    )
