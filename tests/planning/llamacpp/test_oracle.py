"""kvtop against the engine: every recorded case, to the byte, on every device."""

import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from kvtop.domain.memory import CACHES, Segment
from kvtop.domain.plan import MemoryPlan, Refusal
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.context import request_of, resolve_context
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from tests.oracle.cases import FIXTURE, MORE_MODELS, Case, Oracle, load_oracle, prepared
from tests.oracle.every_case import Answer, EveryCase, grouped
from tests.oracle.recorded import recorded


@cache
def _by_model(path: Path) -> dict[str, dict[str, Case]]:
    return grouped((case.model, case.id, case) for case in load_oracle(path).cases)


def _cases(path: Path, model: str, *, refused: bool = False) -> dict[str, Case]:
    return {name: case for name, case in _by_model(path)[model].items() if ("error" in case.expected) is refused}


def _models(path: Path) -> list[str]:
    return list(recorded(path.name)["models"])


def _planned(path: Path, case: Case) -> MemoryPlan:
    answer = plan(prepared(path, case.model), case.settings, case.devices)
    assert isinstance(answer, MemoryPlan), answer
    return answer


def _amounts(answer: MemoryPlan, case: Case) -> Iterator[Answer]:
    for device_name, due in case.expected["by_device"].items():
        device = answer.device(device_name)
        assert device is not None, f"nothing planned for {device_name}"
        yield f"weights of {device_name}", device.memory.bytes_of(Segment.WEIGHTS), due["weights"]
        yield f"caches of {device_name}", device.memory.bytes_of(*CACHES), due["kv"]
    host = answer.device("host")
    yield "output", host and host.memory.bytes_of(Segment.OUTPUT), case.expected["output_bytes"]


def _split(answer: MemoryPlan, case: Case) -> Iterator[Answer]:
    parts = {part.kind: part for part in answer.cache_parts}
    split = case.expected["kv_split"]
    for kind, ours in (("attention", "full"), ("swa", "sliding_window"), ("recurrent", "recurrent")):
        if kind in split:
            yield f"{kind} cache", parts[ours].size_bytes, split[kind]
    if "swa_cells" in split:
        yield "cells of the window", parts["sliding_window"].cells, split["swa_cells"]
    if "attn_cells" in split:
        yield "cells", parts["full"].cells, split["attn_cells"]


def _resolved(answer: MemoryPlan, case: Case) -> Iterator[Answer]:
    for key in ("n_ctx", "n_ctx_seq", "n_seq_max", "kv_unified"):
        yield key, getattr(answer.context, key), case.resolved[key]
    yield "flash attention", answer.flash_attention, case.resolved["flash_attn"]
    hparams = prepared(FIXTURE, case.model).hparams
    context = resolve_context(request_of(case.settings, hparams), hparams, bool(answer.flash_attention))
    for key in ("n_batch", "n_ubatch", "n_outputs_max", "n_rs_seq"):
        yield key, getattr(context, key), case.resolved[key]


@pytest.mark.parametrize("model", _models(FIXTURE))
def test_weights_caches_and_context_are_exact_on_every_device(model: str, every_case: EveryCase) -> None:
    def answers(case: Case) -> Iterator[Answer]:
        answer = _planned(FIXTURE, case)
        yield from _amounts(answer, case)
        yield from _split(answer, case)
        yield from _resolved(answer, case)

    every_case(_cases(FIXTURE, model), answers)


@pytest.mark.parametrize("model", _models(MORE_MODELS))
def test_more_models_are_exact_too(model: str, every_case: EveryCase) -> None:
    every_case(_cases(MORE_MODELS, model), lambda case: _amounts(_planned(MORE_MODELS, case), case))


def test_the_recordings_are_as_large_as_they_were() -> None:
    assert sum(len(_cases(FIXTURE, model)) for model in _models(FIXTURE)) > 350
    assert sum(len(_cases(MORE_MODELS, model)) for model in _models(MORE_MODELS)) > 1800
    assert len(_models(MORE_MODELS)) == 40


def test_refusals_are_in_the_words_of_the_engine(every_case: EveryCase) -> None:
    def answers(case: Case) -> Iterator[Answer]:
        answer = plan(prepared(FIXTURE, case.model), case.settings, case.devices)
        yield "answer", answer, Refusal("llama.cpp", case.expected["error"][0])

    refused = {name: case for model in _models(FIXTURE) for name, case in _cases(FIXTURE, model, refused=True).items()}
    every_case(refused, answers)


@pytest.mark.bench
def test_a_grid_of_types_and_lengths_is_fast(oracle: Oracle) -> None:
    model = prepare(oracle.headers["gemma-3-27b"])
    devices = oracle.cases[0].devices
    started = time.process_time()
    planned = [
        plan(model, LlamaSettings(ctx_tokens=1024 * step, type_k=k, type_v=v, fit=False), devices)
        for k in CACHE_TYPES
        for v in CACHE_TYPES
        for step in range(4, 52, 4)
    ]
    elapsed_seconds = time.process_time() - started
    assert all(isinstance(one, MemoryPlan) for one in planned)
    # 972 plans: the interactive grid asks for 0.15 s; the bound leaves room for a busy machine.
    assert elapsed_seconds < 1.0
