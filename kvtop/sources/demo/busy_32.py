"""Eight cards, four servers on each: three llama.cpp and one vLLM, all at work. For load tests."""

from kvtop.domain.sample import Sample
from kvtop.sources.demo.checkpoints import QWEN3_4B, bf16
from kvtop.sources.demo.gguf_models import llama31_8b
from kvtop.sources.demo.hardware import L40S, card, host_memory
from kvtop.sources.demo.llama_servers import LlamaServer
from kvtop.sources.demo.timeline import EPOCH
from kvtop.sources.demo.vllm_servers import VllmServer

CARDS, LLAMA_PER_CARD = 8, 3
_LLAMA = llama31_8b("/models/Llama-3.1-8B-Instruct-Q4_K_M.gguf")
_QWEN = bf16("/models/Qwen3-4B", QWEN3_4B)


def _llama(index: int, place: int) -> LlamaServer:
    return LlamaServer(
        pid=40_000 + index * 100 + place,
        port=8100 + index * 10 + place,
        model=_LLAMA,
        parameters=8_030_261_312,
        told=(
            ("ctx-size", "16384", "-c"),
            ("gpu-layers", "99", "-ngl"),
            ("parallel", "4", "-np"),
            ("flash-attn", "on", "-fa"),
        ),
        slot_context_tokens=4096,
        prompts=(300 + 40 * index, 900, 120 * place, 2_000),
        tokens_per_second=3 + place,
    )


def _vllm(index: int) -> VllmServer:
    return VllmServer(
        pid=50_000 + index * 100,
        port=8000 + index,
        model=_QWEN,
        told=(
            ("gpu-memory-utilization", "0.38", "--gpu-memory-utilization"),
            ("max-model-len", "16384", "--max-model-len"),
        ),
        ranks=1,
        block_count=3_500,
        sequence_limit_tokens=16_384,
        used_blocks_at_start=400 + 200 * index,
        blocks_per_second=1.0 + index,
    )


LLAMAS = tuple(tuple(_llama(index, place) for place in range(LLAMA_PER_CARD)) for index in range(CARDS))
VLLMS = tuple(_vllm(index) for index in range(CARDS))


def at(second: float) -> Sample:
    """The host at that second."""
    cards = []
    for index in range(CARDS):
        held = {server.pid: 7_250 for server in LLAMAS[index]}
        held[VLLMS[index].core_pid] = 17_530
        cards.append(card(second, L40S, held, index=index))
    servers = [server for row in LLAMAS for server in row]
    return Sample(
        taken_at=EPOCH + second,
        host="rack-7",
        devices=(*cards, host_memory(second, 1024, 96)),
        processes=(
            *(server.process() for server in servers),
            *(process for server in VLLMS for process in server.processes()),
        ),
        servers=(*(server.reading(second) for server in VLLMS), *(server.reading(second) for server in servers)),
        models={_LLAMA.path: _LLAMA, _QWEN.path: _QWEN},
    )
