"""One card for everybody: three servers, somebody's notebook, and the desktop."""

from kvtop.domain.sample import Sample
from kvtop.sources.demo.checkpoints import QWEN3_4B, bf16
from kvtop.sources.demo.gguf_models import llama31_8b
from kvtop.sources.demo.hardware import L40S, card, host_memory
from kvtop.sources.demo.llama_servers import LlamaServer
from kvtop.sources.demo.timeline import EPOCH
from kvtop.sources.demo.vllm_servers import VllmServer

_LLAMA = llama31_8b("/models/Llama-3.1-8B-Instruct-Q4_K_M.gguf")
CHAT = LlamaServer(
    pid=8100,
    port=8080,
    model=_LLAMA,
    parameters=8_030_261_312,
    told=(
        ("ctx-size", "32768", "-c"),
        ("gpu-layers", "99", "-ngl"),
        ("cache-type-k", "q8_0", "-ctk"),
        ("cache-type-v", "q8_0", "-ctv"),
        ("flash-attn", "on", "-fa"),
    ),
    slot_context_tokens=32768,
    prompts=(12_000, 4_000, 0, 0),
)
CODE = LlamaServer(
    pid=8200,
    port=8081,
    model=_LLAMA,
    parameters=8_030_261_312,
    told=(
        ("ctx-size", "16384", "-c"),
        ("gpu-layers", "99", "-ngl"),
        ("parallel", "2", "-np"),
        ("flash-attn", "on", "-fa"),
    ),
    slot_context_tokens=8192,
    prompts=(1_800, 0),
    tokens_per_second=11,
)
VLLM = VllmServer(
    pid=8300,
    port=8000,
    model=bf16("/models/Qwen3-4B", QWEN3_4B),
    told=(
        ("gpu-memory-utilization", "0.4", "--gpu-memory-utilization"),
        ("max-model-len", "16384", "--max-model-len"),
    ),
    ranks=1,
    block_count=3_900,
    sequence_limit_tokens=16_384,
    used_blocks_at_start=900,
    blocks_per_second=2.0,
    running=5,
    waiting=1,
)
NOTEBOOK_PID = 9900


def at(second: float) -> Sample:
    """The host at that second."""
    held = {CHAT.pid: 7_450, CODE.pid: 7_250, VLLM.core_pid: 18_450, NOTEBOOK_PID: 5_300}
    return Sample(
        taken_at=EPOCH + second,
        host="team-box",
        devices=(card(second, L40S, held, desktop_mib=420), host_memory(second, 128, 17)),
        processes=(CHAT.process(), CODE.process(), *VLLM.processes()),
        servers=(VLLM.reading(second), CHAT.reading(second), CODE.reading(second)),
        models={it.model.path: it.model for it in (CHAT, VLLM)},
    )
