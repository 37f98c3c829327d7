"""The sums and products of a derivation come to the amounts of the plan, and each is what it says."""

import math
import re
from collections import Counter

import pytest

from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from tests.oracle import cases as oracle_cases
from tests.oracle.cases import Oracle

GIB = 1 << 30
CARDS = tuple(PlanDevice(f"gpu{at}", 24 * GIB, 24 * GIB) for at in range(2))
SETTINGS = {
    "one slot": LlamaSettings(ctx_tokens=4096, parallel=1, fit=False),
    "four slots, quantized": LlamaSettings(ctx_tokens=8192, parallel=4, type_k="q8_0", type_v="q4_0", fit=False),
    "without flash attention": LlamaSettings(ctx_tokens=4096, parallel=2, flash_attention="off", fit=False),
    "five layers": LlamaSettings(ctx_tokens=4096, parallel=1, gpu_layers=5, fit=False),
}
TOTAL = re.compile(r"(?:= |: )(\d+) bytes \(")


def total_of(arithmetic: str) -> int:
    return int(TOTAL.findall(arithmetic)[-1])


def value_of(arithmetic: str) -> int:
    """What a pocket calculator gives for the part before the result."""
    terms = arithmetic.rpartition(" = ")[0]
    product, _, padding = terms.partition(" bytes + ")
    factors = [sum(map(int, re.findall(r"\d+", factor))) for factor in product.split(" x ")]
    return math.prod(factors) + (int(padding.split()[0]) if padding else 0)


def check(found: MemoryPlan) -> None:
    caches, states, weights = Counter[str](), Counter[str](), Counter[str]()
    for step in found.steps:
        place = re.search(r" layers? on (\w+) (cache|keep)", step.text)
        if place is not None:
            (caches if place[2] == "cache" else states)[place[1]] += total_of(step.arithmetic)
            assert value_of(step.arithmetic) == total_of(step.arithmetic), step.arithmetic
        named = re.fullmatch(r"(?:draft: )?weights on (\w+)", step.text)
        if named is not None:
            weights[named[1]] += total_of(step.arithmetic)
    output = sum(total_of(step.arithmetic) for step in found.steps if "output: the logits" in step.text)
    for device in found.devices:
        assert caches[device.name] == device.memory.bytes_of(Segment.KV_CACHE)
        assert states[device.name] == device.memory.bytes_of(Segment.RECURRENT)
        assert weights[device.name] == device.memory.bytes_of(Segment.WEIGHTS)
        assert device.memory.bytes_of(Segment.OUTPUT) in {0, output}
        compute = " ".join(step.arithmetic for step in found.steps if "compute: " in step.text)
        if device.memory[Segment.COMPUTE].value_bytes and sum("compute: " in step.text for step in found.steps) == 1:
            assert f"{device.memory[Segment.COMPUTE].value_bytes} bytes" in compute


@pytest.mark.parametrize("name", SETTINGS)
def test_amounts_of_every_model_are_what_their_arithmetic_says(oracle: Oracle, name: str) -> None:
    seen = 0
    for header in oracle.headers.values():
        found = plan(header, SETTINGS[name], CARDS)
        if isinstance(found, MemoryPlan):
            check(found)
            seen += 1
    assert seen > len(oracle.headers) // 2


def test_a_second_context_is_explained_too() -> None:
    headers, _ = oracle_cases.load_architectures()
    settings = LlamaSettings(ctx_tokens=4096, parallel=1, speculative_types=("draft-mtp",), fit=False)
    found = plan(prepare(headers["qwen35-dense-mtp"]), settings, CARDS[:1])
    assert isinstance(found, MemoryPlan)
    assert any(step.text.startswith("draft: 1 full-attention layer on gpu0") for step in found.steps)
    check(found)
