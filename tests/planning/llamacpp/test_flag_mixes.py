"""Plans of random option mixes against the engine's own allocation: bytes of weights and caches, ranges of compute."""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from kvtop.domain.memory import CACHES, Segment
from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal
from kvtop.planning.llamacpp.memory.prepared import PreparedModel
from kvtop.planning.llamacpp.options.parse import parse_llama_server, settings_of
from kvtop.planning.llamacpp.planner import plan
from tests.oracle.cases import FIXTURE, MORE_MODELS, prepared
from tests.oracle.every_case import Answer, EveryCase, grouped
from tests.oracle.recorded import numbered, recorded

_ROWS: list[tuple[str, int, list[str], Any]] = recorded("llamacpp_flag_mixes.json.gz")["cases"]
_NAMES = numbered(row[0] for row in _ROWS)
_BY_MODEL = grouped((row[0], name, index) for index, (row, name) in enumerate(zip(_ROWS, _NAMES, strict=True)))


@cache
def _model(name: str) -> PreparedModel:
    return prepared(FIXTURE if name in recorded(FIXTURE.name)["models"] else MORE_MODELS, name)


@cache
def _answer(index: int) -> MemoryPlan | Refusal:
    model, cards, flags, _ = _ROWS[index]
    settings = settings_of(parse_llama_server([*flags, "-fit", "off"], {}))
    devices = tuple(PlanDevice(f"gpu{number}", 80 * 2**30) for number in range(cards))
    return settings if isinstance(settings, Refusal) else plan(_model(model), settings, devices)


def _answers(index: int) -> Iterator[Answer]:
    expected, answer = _ROWS[index][3], _answer(index)
    if isinstance(answer, Refusal):
        assert isinstance(expected, str), answer
        said = answer.message.rpartition(": ")[2]
        yield "refusal", said if said in expected else answer.message, said if said in expected else expected
        return
    assert isinstance(expected, dict), expected
    for part in answer.devices:
        weights, cache_bytes, _ = expected.get(part.name, (0, 0, 0))
        yield f"weights of {part.name}", part.memory.bytes_of(Segment.WEIGHTS), weights
        yield f"caches of {part.name}", part.memory.bytes_of(*CACHES), cache_bytes


@pytest.mark.parametrize("model", _BY_MODEL)
def test_weights_and_caches_are_exact_and_refusals_in_the_same_words(model: str, every_case: EveryCase) -> None:
    every_case(_BY_MODEL[model], _answers)


def test_the_recording_holds_refusals() -> None:
    assert sum(isinstance(row[3], str) for row in _ROWS) > 100


def test_ranges_of_compute_hold_the_truth_in_every_family() -> None:
    hits: dict[str, list[bool]] = defaultdict(list)
    exact = 0
    for index, (_, _, _, expected) in enumerate(_ROWS):
        answer = _answer(index)
        if isinstance(expected, dict) and isinstance(answer, MemoryPlan):
            for part in answer.devices:
                truth = expected.get(part.name, (0, 0, 0))[2]
                exact += part.memory[Segment.COMPUTE].value_bytes == truth
                if truth:
                    inside = part.memory[Segment.COMPUTE].low_bytes <= truth <= part.memory[Segment.COMPUTE].high_bytes
                    hits[answer.architecture].append(inside)
    shares = {family: sum(found) / len(found) for family, found in hits.items()}
    assert {family: share for family, share in shares.items() if share < 0.97} == {}
    total = sum(len(found) for found in hits.values())
    assert sum(map(sum, hits.values())) / total > 0.98
    assert exact / total > 0.7
