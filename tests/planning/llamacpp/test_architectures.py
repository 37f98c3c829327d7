"""Every architecture with a rule, against the engine's own accounting of a tiny model."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import kvtop.planning.llamacpp
from kvtop.domain.memory import CACHES, Segment
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, Refusal
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.planner import plan
from kvtop.planning.llamacpp.rules.architectures import ARCHITECTURES as TABLE
from kvtop.planning.llamacpp.rules.architectures.dense import DENSE
from kvtop.planning.llamacpp.rules.architectures.encoders import ENCODERS
from kvtop.planning.llamacpp.rules.architectures.hybrid import HYBRID
from kvtop.planning.llamacpp.rules.architectures.latent import LATENT
from kvtop.planning.llamacpp.rules.architectures.mixtures import MIXTURES
from kvtop.planning.llamacpp.rules.architectures.recurrent import RECURRENT
from kvtop.planning.llamacpp.rules.architectures.windowed import WINDOWED
from kvtop.planning.llamacpp.rules.traits import ModelTraits
from tests.oracle.cases import (
    ARCHITECTURES,
    PLACEMENTS,
    ArchitectureCase,
    PlacementCase,
    header_of,
    load_architectures,
    load_placements,
    prepared_architecture,
)
from tests.oracle.every_case import Answer, EveryCase, grouped
from tests.oracle.recorded import numbered, recorded

GROUPS: tuple[tuple[ModelTraits, ...], ...] = (DENSE, ENCODERS, HYBRID, LATENT, MIXTURES, RECURRENT, WINDOWED)
_COMMON_WORDS = frozenset({"llama"})
"""Names of architectures that are words of other things too."""
_PLACED = recorded(PLACEMENTS.name)["cases"]


@cache
def _tiny() -> dict[str, dict[str, ArchitectureCase]]:
    cases = load_architectures()[1]
    names = numbered(case.model for case in cases)
    return grouped((case.model, name, case) for name, case in zip(names, cases, strict=True))


@cache
def _placed() -> dict[str, dict[str, PlacementCase]]:
    cases = load_placements()
    names = numbered(case.model for case in cases)
    return grouped((case.model, name, case) for name, case in zip(names, cases, strict=True))


def _on_the_host(case: ArchitectureCase) -> Iterator[Answer]:
    answer = plan(prepared_architecture(case.model), case.settings, ())
    if case.error is not None:
        yield "answer", answer, Refusal("llama.cpp", case.error)
        return
    assert isinstance(answer, MemoryPlan), answer
    host = answer.device("host")
    assert host is not None
    yield "weights", host.memory.bytes_of(Segment.WEIGHTS), case.weights_bytes
    yield "caches", host.memory.bytes_of(*CACHES), case.cache_bytes
    yield "n_ctx", answer.context and answer.context.n_ctx, case.n_ctx


def _on_devices(case: PlacementCase) -> Iterator[Answer]:
    answer = plan(prepared_architecture(case.model), case.settings, case.devices)
    assert isinstance(answer, MemoryPlan), answer
    got = {
        device.name: (
            device.memory.bytes_of(Segment.WEIGHTS),
            device.memory.bytes_of(*CACHES),
        )
        for device in answer.devices
    }
    for name in {**got, **case.expected}:
        yield f"weights and caches of {name}", got.get(name), case.expected.get(name)


@pytest.mark.parametrize("model", recorded(ARCHITECTURES.name)["models"])
def test_a_tiny_model_is_exact(model: str, every_case: EveryCase) -> None:
    every_case(_tiny()[model], _on_the_host)


@pytest.mark.parametrize("model", dict.fromkeys(case[0] for case in _PLACED))
def test_a_tiny_model_is_exact_wherever_its_layers_are(model: str, every_case: EveryCase) -> None:
    every_case(_placed()[model], _on_devices)


def test_the_recordings_are_of_nearly_every_architecture() -> None:
    headers, _ = load_architectures()
    assert len({prepared_architecture(name).hparams.arch for name in headers}) > 120
    assert len(_PLACED) > 2000


def test_an_architecture_stands_in_the_table_once() -> None:
    listed = [each.name for group in GROUPS for each in group]
    assert len(listed) == len(set(listed)) == len(TABLE)
    for group in GROUPS:
        assert [each.name for each in group] == sorted(each.name for each in group)


@pytest.mark.parametrize("arch", sorted(TABLE))
def test_the_traits_of_an_architecture_agree(arch: str) -> None:
    traits = TABLE[arch]
    assert (traits.recurrent_layers != "none") == traits.has_state
    assert (traits.attention_interval > 0) == (traits.recurrent_layers == "interval")
    assert traits.has_state or traits.state == "scan"
    assert not (traits.ties_output and traits.ties_embedding)
    assert traits.attends_uncached or not traits.is_uncached


def test_no_rule_names_an_architecture() -> None:
    """What is believed of one stands in the table: a rule asks for a trait."""
    names = {name for name in TABLE if name not in _COMMON_WORDS}
    room = Path(kvtop.planning.llamacpp.__file__).parent
    found = [
        f"{path.relative_to(room)}: {node.value}"
        for path in sorted(room.rglob("*.py"))
        if "rules" not in path.relative_to(room).parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert not found


@pytest.mark.parametrize("arch", ["qwen4exp", "t5", "clip", "a-model-of-next-year"])
def test_an_architecture_without_a_rule_is_refused_by_name(arch: str) -> None:
    header = header_of("x", {"general.architecture": ["str", arch]}, [])
    with pytest.raises(NoExactRuleError, match=f"no memory rule for llama.cpp architecture '{arch}'"):
        prepare(header)
