"""Findings of running servers: from the demo's hosts, over time, and without launch options."""

from dataclasses import replace

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.analysis.lint.finding_memory import FindingMemory
from kvtop.analysis.lint.result import Suppression
from kvtop.domain.frame import ServerView
from kvtop.domain.launch import LaunchOption, Origin
from kvtop.domain.process import Listener
from kvtop.domain.sample import Sample
from kvtop.domain.server import Counters, ServerReading
from kvtop.sources.demo import scenario
from kvtop.sources.redaction.redact import allowed_environment


def _view(sample: Sample, history: History | None = None) -> ServerView:
    return analyse(history or History(), sample, "1").servers[0]


def _with(sample: Sample, reading: ServerReading) -> Sample:
    return replace(sample, servers=(reading,))


def _slugs(view: ServerView) -> set[str]:
    return {it.slug for it in view.findings}


def test_a_server_of_the_demo_has_its_findings_with_bytes() -> None:
    view = _view(scenario("rtx4090_llamacpp").at(8.0))
    found = {it.slug: it for it in view.findings}
    assert "bytes" in found["slots-multiply-window"].cost
    assert found["slots-multiply-window"].subject == view.reading.id
    assert view.rules_asked > 20


def test_a_server_without_launch_options_passes_nothing_that_it_was_not_asked() -> None:
    sample = scenario("rtx4090_llamacpp").at(8.0)
    view = _view(_with(sample, replace(sample.servers[0], launch=None)))
    missing = {it.slug: it.reason for it in view.not_evaluated}
    assert missing["flash-attention-off"] == "the launch options of this server are unknown"
    assert "flash-attention-off" not in _slugs(view)


def test_what_a_socket_is_bound_to_wins_over_the_options() -> None:
    sample = scenario("rtx4090_llamacpp").at(8.0)
    assert "exposed-without-key" not in _slugs(_view(sample))
    open_to_all = replace(sample.processes[0], listeners=(Listener("0.0.0.0", 8080),))
    assert "exposed-without-key" in _slugs(_view(replace(sample, processes=(open_to_all,))))


@pytest.mark.parametrize(("wants_key", "severity"), [(False, "warning"), (None, "info"), (True, None)])
def test_only_an_answer_without_a_key_shows_that_there_is_none(wants_key: bool | None, severity: str | None) -> None:
    sample = scenario("rtx4090_llamacpp").at(8.0)
    open_to_all = replace(sample.processes[0], listeners=(Listener("0.0.0.0", 8080),))
    reading = replace(sample.servers[0], wants_key=wants_key)
    found = _view(replace(_with(sample, reading), processes=(open_to_all,))).findings
    assert next((it.severity for it in found if it.slug == "exposed-without-key"), None) == severity


@pytest.mark.parametrize("name", ["LLAMA_API_KEY", "OTHER_API_KEY"])
def test_a_key_in_the_environment_of_a_process_is_a_key(name: str) -> None:
    """The value never gets as far as here, that it is set does."""
    sample = scenario("rtx4090_llamacpp").at(8.0)
    environ = allowed_environment({name: "canary"})
    process = replace(sample.processes[0], listeners=(Listener("0.0.0.0", 8080),), environ=environ)
    found = _slugs(_view(replace(sample, processes=(process,))))
    assert ("exposed-without-key" in found) is (name != "LLAMA_API_KEY")


def test_inside_a_container_nobody_knows_who_is_let_in() -> None:
    sample = scenario("rtx4090_llamacpp").at(8.0)
    inside = replace(sample.processes[0], listeners=(Listener("0.0.0.0", 8080),), shares_network=False)
    found = {it.slug: it for it in _view(replace(sample, processes=(inside,))).findings}["exposed-without-key"]
    assert "or a port of it that is published" in found.message
    assert "-p 127.0.0.1:PORT:PORT" in found.fix


def test_a_full_slot_is_found_while_it_fills() -> None:
    history = History()
    late = scenario("rtx4090_llamacpp")
    views = [_view(late.at(second), history) for second in (1000.0, 1001.0, 1002.0)]
    sample = late.at(1003.0)
    full = tuple(replace(slot, used_tokens=slot.context_tokens) for slot in sample.servers[0].slots or ())
    assert "cache-nearly-full" in _slugs(_view(_with(sample, replace(sample.servers[0], slots=full)), history))
    assert views


def test_idle_is_told_only_after_watching_or_when_it_never_served() -> None:
    sample = scenario("rtx4090_llamacpp").at(8.0)
    still = tuple(replace(slot, is_processing=False) for slot in sample.servers[0].slots or ())
    counters = replace(sample.servers[0].counters, requests_processing=0.0)
    reading = replace(sample.servers[0], slots=still, counters=counters)
    history = History()
    first = _view(_with(sample, reading), history)
    assert "idle-model-holds-memory" in {it.slug for it in first.not_evaluated}
    later = replace(_with(sample, reading), taken_at=sample.taken_at + 7200)
    idle = {it.slug: it for it in _view(later, history).findings}["idle-model-holds-memory"]
    assert "bytes" in idle.cost


def test_unchanging_rules_are_asked_once() -> None:
    history = History()
    sample = scenario("rtx4090_llamacpp").at(8.0)
    _view(sample, history)
    key, result = history.findings.settled[sample.servers[0].id]
    _view(scenario("rtx4090_llamacpp").at(9.0), history)
    assert history.findings.settled[sample.servers[0].id][1] is result
    assert key


def test_a_suppressed_rule_leaves_the_dashboard_too() -> None:
    history = History(findings=FindingMemory((Suppression("slots-multiply-window", "four users"),)))
    assert "slots-multiply-window" not in _slugs(_view(scenario("rtx4090_llamacpp").at(8.0), history))


def test_a_small_share_of_a_card_that_others_use_too_is_no_waste() -> None:
    shared = analyse(History(), scenario("busy_32").at(8.0), "1").servers
    assert not any("memory-utilization-unused" in _slugs(view) for view in shared)
    alone = analyse(History(), scenario("h100x8_vllm_tp").at(8.0), "1").servers
    assert any("memory-utilization-unused" in _slugs(view) for view in alone)


def _stated(**options: str) -> tuple[LaunchOption, ...]:
    return tuple(
        LaunchOption(name.replace("_", "-"), value, Origin.ENDPOINT, "metrics") for name, value in options.items()
    )


def test_what_an_endpoint_states_is_enough_for_rules_that_need_no_more() -> None:
    sample = scenario("h100x8_vllm_tp").at(8.0)
    told = _stated(kv_cache_dtype="auto", enable_prefix_caching="false", num_gpu_blocks_override="512")
    view = _view(_with(sample, replace(sample.servers[0], launch=None, pids=(), is_remote=True, stated=told)))
    found = {it.slug: it for it in view.findings}
    assert found["prefix-caching-off"].severity == "info"
    assert "embedding" in found["prefix-caching-off"].message
    assert "metrics" in found["blocks-overridden"].evidence
    missing = {it.slug for it in view.not_evaluated}
    assert {"exposed-without-key", "memory-utilization-unused", "fp8-uncalibrated-scales"} <= missing
    assert not missing & found.keys()


def test_a_launch_that_metrics_tell_in_part_is_no_command_line() -> None:
    sample = scenario("h100x8_vllm_tp").at(8.0)
    view = _view(_with(sample, replace(sample.servers[0], pids=(), is_remote=True)))
    assert "exposed-without-key" in {it.slug for it in view.not_evaluated}


def test_a_remote_llama_server_says_whether_it_has_metrics() -> None:
    sample = scenario("rtx4090_llamacpp").at(8.0)
    remote = replace(sample.servers[0], launch=None, counters=Counters(), stated=_stated(metrics="false"))
    assert "metrics-disabled" not in _slugs(_view(_with(sample, remote)))  # its slots tell what matters
    remote = replace(remote, slots=None)
    assert "metrics-disabled" in _slugs(_view(_with(sample, remote)))
    unsaid = replace(remote, stated=())
    assert "metrics-disabled" in {it.slug for it in _view(_with(sample, unsaid)).not_evaluated}


def test_preemptions_show_from_the_second_look_on() -> None:
    sample = scenario("h100x8_vllm_tp").at(8.0)
    counters = replace(sample.servers[0].counters, requests_waiting_for_memory=0.0, preemptions_total=12.0)
    history = History()
    first = _view(_with(sample, replace(sample.servers[0], counters=counters)), history)
    assert "preemption-thrash" in {it.slug for it in first.not_evaluated}
    later = replace(sample, taken_at=sample.taken_at + 2)
    still = _view(_with(later, replace(sample.servers[0], counters=counters)), history)
    assert "preemption-thrash" not in {it.slug for it in still.not_evaluated} | _slugs(still)
    risen = replace(counters, preemptions_total=13.0)
    latest = replace(sample, taken_at=sample.taken_at + 4)
    found = {it.slug: it for it in _view(_with(latest, replace(sample.servers[0], counters=risen)), history).findings}
    assert "13 preemptions" in found["preemption-thrash"].evidence
    assert "--max-num-seqs" in found["preemption-thrash"].fix


def test_what_was_decided_against_keeps_its_reason() -> None:
    history = History(findings=FindingMemory((Suppression("slots-multiply-window", "four users"),)))
    view = _view(scenario("rtx4090_llamacpp").at(8.0), history)
    assert [(it.slug, reason) for it, reason in view.suppressed] == [("slots-multiply-window", "four users")]
