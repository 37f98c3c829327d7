"""What differs between two hosts, what does not count, and why."""

from dataclasses import replace

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.analysis.diff.comparable import host_state
from kvtop.analysis.diff.compare import compare, pairs
from kvtop.analysis.diff.planned_server import planned_servers
from kvtop.domain.answers.comparison import Comparison, Difference, HostState, Topic
from kvtop.domain.frame import Finding, Frame
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.sample import Sample
from kvtop.sources.demo import SCENARIOS
from kvtop.views.text.diff_text import diff_text


def frame_of(sample: Sample) -> Frame:
    return analyse(History(), sample, "1")


def with_options(sample: Sample, **values: str | None) -> Sample:
    """The sample whose first server was started with other options; None takes one away."""
    reading = sample.servers[0]
    assert reading.launch is not None
    names = {name.replace("_", "-"): value for name, value in values.items()}
    kept = [it for it in reading.launch.options if it.name not in names]
    added = [LaunchOption(name, value, Origin.ARGV, f"--{name}") for name, value in names.items() if value is not None]
    launch = LaunchOptions(reading.launch.engine, (*kept, *added))
    return replace(sample, servers=(replace(reading, launch=launch), *sample.servers[1:]))


def compared(before: Sample, after: Sample, tolerance: float = 0.01) -> Comparison:
    plans = planned_servers(before), planned_servers(after)
    sides = [host_state(name, frame_of(sample)) for name, sample in (("a", before), ("b", after))]
    return compare(sides[0], sides[1], tolerance, plans)


def found(comparison: Comparison, what: str) -> Difference:
    (difference,) = [it for it in comparison.differences if it.what == what]
    return difference


SAMPLE = SCENARIOS[0].at(8.0)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda it: it.name)
def test_a_host_does_not_differ_from_itself(scenario: object) -> None:
    sample = getattr(scenario, "at")(8.0)  # noqa: B009
    assert compared(sample, sample).differences == ()


def test_one_option_is_named_as_the_cause() -> None:
    comparison = compared(SAMPLE, with_options(SAMPLE, ctx_size="16384"))
    assert comparison.differs
    cache, capacity = found(comparison, "kv_cache"), found(comparison, "KV capacity")
    assert cache.cause == capacity.cause == "because ctx-size 32768 → 16384"
    assert (capacity.before, capacity.after, capacity.ratio) == (32768, 16384, -0.5)
    assert found(comparison, "--ctx-size").topic is Topic.CONFIGURATION
    assert not any(it.what == "weights" for it in comparison.differences)


def test_two_options_that_only_count_together_are_both_named_with_their_share() -> None:
    after = with_options(SAMPLE, cache_type_k="q4_0", cache_type_v="q4_0", port="9090", ctx_size="16384")
    cause = found(compared(SAMPLE, after), "kv_cache").cause
    assert cause.startswith("because ")
    for words in (
        "cache-type-k q8_0 → q4_0 (alone -",
        "cache-type-v q8_0 → q4_0 (alone -",
        "ctx-size 32768 → 16384 (alone -",
    ):
        assert words in cause
    assert "port" not in cause


def test_an_option_that_is_gone_is_a_cause_too() -> None:
    before = with_options(SAMPLE, swa_full="true")
    cause = found(compared(before, SAMPLE), "kv_cache").cause
    assert cause == "because swa-full true → (not set)"


def test_without_a_plan_the_factors_are_named() -> None:
    sides = [host_state("x", frame_of(it)) for it in (SAMPLE, with_options(SAMPLE, ctx_size="65536"))]
    cause = found(compare(sides[0], sides[1], 0.0), "kv_cache").cause
    assert cause == "100 % more tokens, the same bytes per token"


def test_small_changes_are_listed_and_do_not_count() -> None:
    card = SAMPLE.devices[0]
    free = card.memory.free_bytes
    assert free is not None
    moved = replace(card, memory=replace(card.memory, free_bytes=free + free // 500))
    after = replace(SAMPLE, devices=(moved, *SAMPLE.devices[1:]))
    comparison = compared(SAMPLE, after)
    assert not comparison.differs
    assert found(comparison, "free memory").ratio == pytest.approx(0.002, rel=0.01)
    assert compared(SAMPLE, after, tolerance=0.001).differs


def test_devices_come_and_go() -> None:
    lost = compared(SAMPLE, replace(SAMPLE, devices=SAMPLE.devices[1:]))
    assert [(it.subject, it.after, it.counts) for it in lost.differences if it.topic is Topic.DEVICE] == [
        (SAMPLE.devices[0].id, None, True)
    ]
    found_again = compared(replace(SAMPLE, devices=SAMPLE.devices[1:]), SAMPLE)
    assert [(it.before, it.counts) for it in found_again.differences if it.topic is Topic.DEVICE] == [(None, True)]


def test_unknown_proves_no_difference() -> None:
    reading = replace(SAMPLE.servers[0], launch=None, slots=None, slot_count=None, version=None)
    comparison = compared(SAMPLE, replace(SAMPLE, servers=(reading,)))
    assert comparison.differences
    assert not any(it.counts for it in comparison.differences if None in {it.before, it.after})


def test_servers_come_and_go_and_are_matched_by_model_when_their_address_changed() -> None:
    moved = replace(SAMPLE.servers[0], id="127.0.0.1:9999")
    comparison = compared(SAMPLE, replace(SAMPLE, servers=(moved,)))
    assert not any(it.topic is Topic.SERVER for it in comparison.differences)
    gone = compared(SAMPLE, replace(SAMPLE, servers=()))
    assert found(gone, "server").after is None
    assert gone.differs


def test_left_over_servers_are_not_matched_at_random() -> None:
    state = host_state("x", frame_of(SAMPLE)).servers[0]
    others = [replace(state, id=f"h:{port}", model=f"m{port}") for port in range(4)]
    assert pairs((others[0], others[1]), (others[2], others[3])) == [
        (others[0], None),
        (others[1], None),
        (None, others[2]),
        (None, others[3]),
    ]


def test_findings_that_came_and_went() -> None:
    frame = frame_of(SAMPLE)

    def side(code: str) -> HostState:
        finding = Finding(code, code, "warning", "s", f"message {code}")
        return host_state("x", replace(frame, servers=(replace(frame.servers[0], findings=(finding,)),)))

    comparison = compare(side("K1"), side("K2"), 0.0)
    assert [(it.what, it.before, it.after) for it in comparison.differences] == [
        ("K1", "message K1", None),
        ("K2", None, "message K2"),
    ]


def test_free_memory_of_the_host_moves_by_itself() -> None:
    """Every program of the machine moves it: it is listed, and counts where that is asked for."""
    before = HostState("a", "h", (), (("gpu0", 100), ("host", 100)))
    after = HostState("b", "h", (), (("gpu0", 100), ("host", 50)))
    quiet, asked = compare(before, after, 0.01), compare(before, after, 0.01, everything=True)
    (it,) = quiet.differences
    assert (it.subject, it.counts, it.moves_by_itself, quiet.differs) == ("host", False, True, False)
    assert asked.differs
    assert compare(before, HostState("b", "h", (), (("gpu0", 50), ("host", 100))), 0.01).differs
    assert "changes on its own (--all counts it)" in diff_text(quiet)
