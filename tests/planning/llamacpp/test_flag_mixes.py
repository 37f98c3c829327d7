"""Plans of random option mixes against the engine's own allocation: bytes of weights and caches, ranges of compute."""

import gzip
import json
from collections import defaultdict
from typing import Any

import pytest

from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal
from kvtop.planning.llamacpp.model.prepared import prepare
from kvtop.planning.llamacpp.options.parse import parse_llama_server, settings_of
from kvtop.planning.llamacpp.planner import plan
from tests.oracle import cases as oracle_cases
from tests.oracle.cases import Oracle

Row = tuple[str, int, list[str], Any]
Answers = list[tuple[Row, MemoryPlan | Refusal]]


@pytest.fixture(scope="module")
def answers(oracle: Oracle, more_models: Oracle) -> Answers:
    """Every recorded row with our own answer."""
    prepared = {name: prepare(header) for name, header in (oracle.headers | more_models.headers).items()}
    with gzip.open(oracle_cases.FIXTURE.with_name("llamacpp_flag_mixes.json.gz"), "rt", encoding="utf-8") as file:
        rows = json.load(file)["cases"]
    found: Answers = []
    for row in rows:
        model, cards, flags, _ = row
        settings = settings_of(parse_llama_server([*flags, "-fit", "off"], {}))
        devices = tuple(PlanDevice(f"gpu{index}", 80 * 2**30) for index in range(cards))
        found.append((row, settings if isinstance(settings, Refusal) else plan(prepared[model], settings, devices)))
    return found


def test_weights_and_caches_are_exact_on_every_device(answers: Answers) -> None:
    wrong = []
    for (model, _, flags, expected), answer in answers:
        if isinstance(expected, dict) and isinstance(answer, MemoryPlan):
            for part in answer.devices:
                weights, cache, _ = expected.get(part.name, (0, 0, 0))
                if (part.weights_bytes, (part.kv_cache_bytes or 0) + part.recurrent_state_bytes) != (weights, cache):
                    wrong.append((model, flags, part.name))
    assert wrong == []


def test_refused_in_the_same_words(answers: Answers) -> None:
    refused = 0
    for (model, _, flags, expected), answer in answers:
        assert isinstance(expected, str) == isinstance(answer, Refusal), (model, flags)
        if isinstance(answer, Refusal):
            assert answer.message.rpartition(": ")[2] in expected
            refused += 1
    assert refused > 100


def test_ranges_of_compute_hold_the_truth_in_every_family(answers: Answers) -> None:
    hits: dict[str, list[bool]] = defaultdict(list)
    exact = 0
    for (_, _, _, expected), answer in answers:
        if isinstance(expected, dict) and isinstance(answer, MemoryPlan):
            for part in answer.devices:
                truth = expected.get(part.name, (0, 0, 0))[2]
                exact += part.compute.value_bytes == truth
                if truth:
                    inside = part.compute.low_bytes <= truth <= part.compute.high_bytes
                    hits[answer.architecture].append(inside)
    shares = {family: sum(found) / len(found) for family, found in hits.items()}
    assert {family: share for family, share in shares.items() if share < 0.97} == {}
    total = sum(len(found) for found in hits.values())
    assert sum(map(sum, hits.values())) / total > 0.98
    assert exact / total > 0.7
