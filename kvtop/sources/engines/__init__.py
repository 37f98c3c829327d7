"""Engines that kvtop reads live: one file each, listed here. Each is an `Engine` of `sources.endpoints.engine`."""

from collections.abc import Mapping, Sequence

from kvtop.sources.endpoints.engine import Engine
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.engines import (
    koboldcpp,
    llama_swap,
    llamacpp,
    llamafile,
    lm_studio,
    mlx,
    ollama,
    sglang,
    tensorrt_llm,
    tgi,
    triton,
    vllm,
)

ENGINES: tuple[Engine, ...] = (
    *(llamacpp, vllm, mlx, sglang, ollama),
    *(llama_swap, lm_studio, koboldcpp, llamafile, tgi, tensorrt_llm, triton),
)
"""In the order in which they are asked whether something is theirs."""

PROXIES = frozenset({ollama.NAME, llama_swap.NAME})
"""They hold no model themselves: each runs in a server of its own (`ServerReading.is_proxy`)."""


def engine_of_process(comm: str, argv: Sequence[str]) -> Engine | None:
    """The engine whose server this process is, or None.

    A recogniser at fault does not keep the others from being asked; where none of them takes the process, what it
    raised is raised, with a note that names it.
    """
    fault: Exception | None = None
    for engine in ENGINES:
        try:
            if engine.recognises(comm, argv):
                return engine
        except Exception as error:  # noqa: BLE001  whatever a command line may hold, other engines are asked
            error.add_note(engine.NAME)
            fault = fault or error
    if fault is not None:
        raise fault
    return None


def engine_of_replies(replies: Mapping[str, Reply]) -> Engine | None:
    """The engine that gives such replies, or None when they do not tell."""
    return next((engine for engine in ENGINES if engine.answers(replies)), None)
