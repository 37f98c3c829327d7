"""Servers in containers, seen from the host: their own addresses, their own files, the host's pids."""

from kvtop.domain.process import Container
from kvtop.domain.sample import Failure, Sample
from kvtop.sources.demo.checkpoints import QWEN3_4B, bf16
from kvtop.sources.demo.gguf_models import gemma3_27b, llama31_8b
from kvtop.sources.demo.hardware import L40S, card, host_memory
from kvtop.sources.demo.llama_servers import LlamaServer
from kvtop.sources.demo.timeline import EPOCH
from kvtop.sources.demo.vllm_servers import VllmServer

DOCKER = VllmServer(
    pid=31_100,
    port=8000,
    model=bf16("/root/.cache/huggingface/hub/Qwen3-4B", QWEN3_4B),
    told=(
        ("gpu-memory-utilization", "0.45", "--gpu-memory-utilization"),
        ("max-model-len", "32768", "--max-model-len"),
    ),
    ranks=1,
    block_count=4_950,
    sequence_limit_tokens=32_768,
    used_blocks_at_start=500,
    blocks_per_second=3.0,
    container=Container("docker", "3f2a1b4c5d6e" + "0" * 52, "chat"),
    address="172.17.0.2",
)
PODMAN = LlamaServer(
    pid=32_100,
    port=8080,
    model=llama31_8b("/models/Llama-3.1-8B-Instruct-Q4_K_M.gguf"),
    parameters=8_030_261_312,
    told=(("ctx-size", "16384", "-c"), ("gpu-layers", "99", "-ngl"), ("flash-attn", "on", "-fa")),
    slot_context_tokens=16384,
    prompts=(5_000, 0, 0, 0),
    container=Container("podman", "9c8b7a6f5e4d" + "0" * 52),
    address="10.88.0.4",
)
POD = LlamaServer(
    pid=33_100,
    port=8080,
    model=gemma3_27b("/models/gemma-3-27b-it-Q4_K_M.gguf"),
    parameters=27_009_346_304,
    told=(("ctx-size", "8192", "-c"), ("gpu-layers", "99", "-ngl"), ("flash-attn", "on", "-fa")),
    slot_context_tokens=8192,
    prompts=(1_200, 0, 0, 0),
    container=Container("kubernetes", "5d4c3b2a1f0e" + "0" * 52, "models/gemma-0/server"),
    address="10.42.0.19",
)


def at(second: float) -> Sample:
    """The host at that second. The pod's files may not be read, so its model stays unknown."""
    return Sample(
        taken_at=EPOCH + second,
        host="node-3",
        devices=(
            card(second, L40S, {DOCKER.core_pid: 20_760, PODMAN.pid: 7_250}),
            card(second, L40S, {POD.pid: 18_240}, index=1),
            host_memory(second, 256, 22),
        ),
        processes=(*DOCKER.processes(), PODMAN.process(), POD.process()),
        servers=(DOCKER.reading(second), PODMAN.reading(second), POD.reading(second)),
        models={it.model.path: it.model for it in (DOCKER, PODMAN)},
        failures=(
            Failure(f"model file {POD.model.path}", "Permission denied", "run kvtop as the server's user or as root"),
        ),
    )
