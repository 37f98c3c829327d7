"""Four engines on one host: llama.cpp, vLLM, MLX on the processor, and Ollama with its own llama-server below it."""

from dataclasses import replace

from kvtop.domain.engine_report import HostedModel
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.sample import Sample
from kvtop.domain.server import ModelFacts, ServerReading, ServerState
from kvtop.sources.demo import rtx4090_llamacpp
from kvtop.sources.demo.checkpoints import LLAMA_8B, QWEN3_4B, bf16, mlx_4bit
from kvtop.sources.demo.commands import process
from kvtop.sources.demo.gguf_models import llama31_8b
from kvtop.sources.demo.hardware import L40S, RTX_4090, card, host_memory
from kvtop.sources.demo.llama_servers import LlamaServer
from kvtop.sources.demo.mlx_servers import MlxServer
from kvtop.sources.demo.timeline import EPOCH
from kvtop.sources.demo.vllm_servers import VllmServer

GEMMA = rtx4090_llamacpp.GEMMA
VLLM = VllmServer(
    pid=6100,
    port=8000,
    model=bf16("/models/Llama-3.1-8B-Instruct", LLAMA_8B),
    told=(("gpu-memory-utilization", "0.7", "--gpu-memory-utilization"), ("max-model-len", "32768", "--max-model-len")),
    ranks=1,
    block_count=7_400,
    sequence_limit_tokens=32_768,
    used_blocks_at_start=900,
    blocks_per_second=6.0,
)
MLX = MlxServer(
    pid=6300,
    port=8090,
    model=mlx_4bit("/models/Qwen3-4B-4bit", QWEN3_4B),
    program="/opt/mlx/bin/mlx_lm.server",
)
BLOB = "/usr/share/ollama/.ollama/models/blobs/sha256-667b0c1932bc6ffc593ed1d03f895bf2dc8dc6df21db3042284a6f4416b06a29"
OLLAMA_PID, EXPIRES_AFTER_SECONDS = 6400, 270.0
RUNNER = LlamaServer(
    pid=6410,
    port=41235,
    model=llama31_8b(BLOB),
    parameters=8_030_261_312,
    told=(
        ("host", "127.0.0.1", "--host"),
        ("ctx-size", "8192", "-c"),
        ("parallel", "1", "-np"),
        ("gpu-layers", "99", "-ngl"),
        ("flash-attn", "on", "--flash-attn"),
    ),
    slot_context_tokens=8192,
    prompts=(2_400,),
    program="/usr/lib/ollama/llama-server",
)


def at(second: float) -> Sample:
    """The host at that second."""
    cards = (
        card(second, RTX_4090, {GEMMA.pid: 18_140}, desktop_mib=612),
        card(second, L40S, {VLLM.core_pid: 32_300, RUNNER.pid: 6_220}, index=1),
    )
    front = process(
        OLLAMA_PID, ("/usr/bin/ollama", "serve"), name="ollama", port=11434, rss_mib=160, children=(RUNNER.pid,)
    )
    runner = replace(RUNNER.process(), ppid=OLLAMA_PID)
    return Sample(
        taken_at=EPOCH + second,
        host="lab",
        devices=(*cards, host_memory(second, 128, 31)),
        processes=(GEMMA.process(), *VLLM.processes(), MLX.process(3_020), front, runner),
        servers=(GEMMA.reading(second), VLLM.reading(second), MLX.reading(), _ollama(), RUNNER.reading(second)),
        models={it.model.path: it.model for it in (GEMMA, VLLM, MLX, RUNNER)},
    )


def _ollama() -> ServerReading:
    """Ollama itself: it holds no model, its runner does."""
    mine = HostedModel(
        name="llama3.1:8b",
        state="loaded",
        digest="667b0c1932bc6ffc593ed1d03f895bf2dc8dc6df21db3042284a6f4416b06a29",
        size_bytes=6_287_000_000,
        device_bytes=6_287_000_000,
        context_tokens=8192,
        quantization="Q4_K_M",
        expires_at=EPOCH + EXPIRES_AFTER_SECONDS,
        url=f"http://127.0.0.1:{RUNNER.port}",
    )
    return ServerReading(
        id="127.0.0.1:11434",
        engine="ollama",
        state=ServerState.READY,
        version="0.33.0",
        url="http://127.0.0.1:11434",
        pids=(OLLAMA_PID,),
        model=ModelFacts("llama3.1:8b", expires_at=EPOCH + EXPIRES_AFTER_SECONDS),
        launch=LaunchOptions(
            "ollama", (LaunchOption("kv-cache-type", "f16", Origin.ENVIRONMENT, "OLLAMA_KV_CACHE_TYPE"),)
        ),
        hosted=(mine,),
        is_proxy=True,
    )
