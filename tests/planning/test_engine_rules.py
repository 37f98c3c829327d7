"""Every engine of the registry is held to the protocol, and the engines' names stay in their own rooms."""

import ast
from pathlib import Path

import pytest

from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.plan import PlanDevice
from kvtop.domain.server import ServerReading, ServerState
from kvtop.planning.adjustments import Knob, knob_names, knob_values, turn
from kvtop.planning.commands.command import parse_command, process_command
from kvtop.planning.protocol.engine_rules import EngineRules
from kvtop.planning.protocol.measured import NOTHING_MEASURED
from kvtop.planning.registry import ENGINES, all_engines, display_name, engine_rules
from kvtop.sources.engines import ENGINES as ADAPTERS

PACKAGE = Path(__file__).resolve().parents[2] / "kvtop"
EVERY = pytest.mark.parametrize("rules", all_engines(), ids=lambda rules: rules.name)
CARDS = tuple(PlanDevice(f"gpu{index}", 24 * 2**30) for index in range(2))


def launched(rules: EngineRules, **options: str) -> LaunchOptions:
    typed = (LaunchOption(name, value, Origin.ARGV, f"--{name}") for name, value in options.items())
    return LaunchOptions(rules.name, tuple(typed))


def test_the_registry_names_each_engine_once_and_by_its_own_name() -> None:
    assert [rules.name for rules in all_engines()] == list(ENGINES)
    assert engine_rules("no such engine") is None
    assert display_name("no such engine") == "no such engine"


@EVERY
def test_an_engine_that_is_planned_is_watched_too(rules: EngineRules) -> None:
    assert rules.name in {adapter.NAME for adapter in ADAPTERS}


@EVERY
def test_its_own_program_is_recognised_and_no_other_engine_takes_it(rules: EngineRules) -> None:
    words = [*rules.traits.program, "--port", "8080"]
    assert rules.started_by(words) == ("--port", "8080")
    takers = [other.name for other in all_engines() if other.started_by(words) is not None]
    assert takers == [rules.name]
    assert parse_command(["sudo", *words]).engine == rules.name
    found = process_command(words)
    assert found is not None
    assert found.engine == rules.name


@EVERY
@pytest.mark.parametrize("words", [[], [""], ["python3"], ["python3", "-m"], ["bash", "-c", "x"], ["/usr/bin/vllmx"]])
def test_other_words_are_nobodys(rules: EngineRules, words: list[str]) -> None:
    assert rules.started_by(words) is None


@EVERY
def test_each_knob_has_a_name_and_says_where_it_stands(rules: EngineRules) -> None:
    base = WhatIf(launched(rules), at_tokens=4096 if rules.traits.cache_grows else None)
    stands = knob_values(base, None)
    assert set(stands) <= set(knob_names(rules.name))
    assert set(knob_names(rules.name)) <= {knob.value for knob in Knob}
    assert all(stands.values())
    assert all(name.strip() for name in knob_names(rules.name).values())


@EVERY
@pytest.mark.parametrize("knob", list(Knob))
def test_a_knob_that_is_turned_and_turned_back_changes_nothing(rules: EngineRules, knob: Knob) -> None:
    base = WhatIf(launched(rules), at_tokens=4096 if rules.traits.cache_grows else None)
    there = turn(base, None, knob, 1)
    if there is None:
        return
    back = turn(there, None, knob, -1)
    assert back is not None
    assert back.launch.options == base.launch.options


@EVERY
def test_changed_options_are_typed_once_and_removed_wherever_they_stood(rules: EngineRules) -> None:
    key, value = next((name, text) for name, text in rules.defaults.items() if text != "true")
    words = rules.option_words(((key, value),))
    assert words == (f"--{key}", value)
    argv = [*rules.traits.program, "--port", "80", *words]
    base = launched(rules, **{key: value})
    assert rules.without_options(argv, base, {key}) == [*rules.traits.program, "--port", "80"]
    assert rules.option_words(((key, None),)) == ()


@EVERY
def test_the_options_of_the_cache_types_name_a_pair_of_evidence(rules: EngineRules) -> None:
    key, value = rules.traits.cache_type_options
    assert key
    assert value
    pair = rules.cache_pair(WhatIf(launched(rules)), None)
    assert len(pair) == 2
    assert all(pair)


@EVERY
def test_a_running_server_keeps_its_options_where_its_endpoint_says_nothing(rules: EngineRules) -> None:
    launch = launched(rules, port="80")
    reading = ServerReading("127.0.0.1:80", rules.name, ServerState.READY, launch=launch)
    assert rules.measured(launch, reading) == NOTHING_MEASURED
    assert rules.kept(NOTHING_MEASURED, None) == NOTHING_MEASURED
    assert rules.devices_for(launch, ()) == ()
    assert rules.devices_for(launch, CARDS)[: len(CARDS)] == CARDS


@EVERY
@pytest.mark.parametrize("requested", [1, 4095, 4096])
def test_a_length_within_training_is_given_as_it_is(rules: EngineRules, requested: int) -> None:
    assert rules.sequence_limit(requested, 4096) == (requested, "")


@EVERY
def test_a_length_beyond_training_is_kept_or_its_cut_is_said(rules: EngineRules) -> None:
    tokens, said = rules.sequence_limit(4097, 4096)
    assert (tokens, bool(said)) in {(4097, False), (4096, True)}


def strings(tree: ast.AST) -> set[str]:
    """String constants that are no docstrings."""
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare
    }


NAMES = {*ENGINES, *(adapter.NAME for adapter in ADAPTERS)}
ROOMS = ("analysis", "views", "verbs", "planning")
OWN_ROOMS = (
    *(f"planning/{folder}/" for folder in ENGINES.values()),
    "planning/registry.py",  # the list itself
    "planning/ollama/",  # what starts an engine has a room as engines have
    "planning/commands/",  # wrappers, images and hosts that start engines
    "analysis/lint/rules/",  # a rule says which engines it is about
    "analysis/evidence.py",  # "mlx" as a word in the names of models
    "views/export/plan_json.py",  # a published field
)
TO_DO = {
    # Rules' target still asks for llama.cpp's typed settings.
    "analysis/lint/target.py",
    "analysis/lint/linting.py",
}


def test_no_engine_is_named_outside_its_rooms() -> None:
    named = {
        path.relative_to(PACKAGE).as_posix()
        for room in ROOMS
        for path in (PACKAGE / room).rglob("*.py")
        if strings(ast.parse(path.read_text(encoding="utf-8"))) & NAMES
    }
    assert {name for name in named if not name.startswith(OWN_ROOMS)} <= TO_DO
