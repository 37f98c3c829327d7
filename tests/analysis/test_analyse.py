"""From Sample to Frame, over every scenario of the library and the odd hosts that people have."""

from dataclasses import replace

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.device import DeviceState, ProcessMemory
from kvtop.domain.figure import Basis
from kvtop.domain.frame import Frame, ServerView
from kvtop.domain.memory import Segment
from kvtop.domain.sample import Sample
from kvtop.domain.server import ServerReading
from kvtop.sources.demo import SCENARIOS, Scenario, scenario
from tests.amounts import size_of

MIB = 1024 * 1024


def _frames(chosen: Scenario, *seconds: float) -> Frame:
    history = History()
    for second in seconds:
        frame = analyse(history, chosen.at(second), "1.2.3")
    return frame


def _only(frame: Frame) -> ServerView:
    (view,) = frame.servers
    return view


def _with_server(sample: Sample, reading: ServerReading) -> Sample:
    return replace(sample, servers=(reading,))


def _card_sample() -> Sample:
    return scenario("rtx4090_llamacpp").at(8.0)


def test_room_in_the_cache_is_told_before_its_growth_is() -> None:
    view = _only(_frames(scenario("rtx4090_llamacpp"), 0.0))
    cache = view.kv_cache
    assert view.headroom.cache_tokens_left == (cache.capacity_tokens or 0) - (cache.used_tokens or 0) > 0


@pytest.mark.parametrize("second", [0.0, 2.0, 3.0, 8.0, 3600.0])
@pytest.mark.parametrize("chosen", SCENARIOS, ids=lambda it: it.name)
def test_every_scenario_adds_up(chosen: Scenario, second: float) -> None:
    frame = _frames(chosen, second)
    for view in frame.servers:
        assert view.splits
        for split in view.splits:
            sizes = [figure.value_bytes for _, figure in split.memory.parts]
            if split.driver.value_bytes is not None:
                assert sum(size for size in sizes if size is not None) == split.driver.value_bytes
            if split.kv_used_bytes is not None:
                assert split.memory[Segment.KV_CACHE].value_bytes is not None
                assert 0 <= split.kv_used_bytes <= size_of(split, Segment.KV_CACHE)


@pytest.mark.parametrize("chosen", SCENARIOS, ids=lambda it: it.name)
def test_the_same_sample_makes_an_equal_frame(chosen: Scenario) -> None:
    assert _frames(chosen, 7.0, 8.0) == _frames(chosen, 7.0, 8.0)


def test_a_card_with_one_server_is_explained() -> None:
    view = _only(_frames(scenario("rtx4090_llamacpp"), 8.0))
    split = next(it for it in view.splits if it.device_id == "gpu0")
    assert split.driver.value_bytes == 18_140 * MIB
    assert split.memory[Segment.WEIGHTS].basis is split.memory[Segment.KV_CACHE].basis is Basis.COMPUTED
    assert split.memory[Segment.UNATTRIBUTED].value_bytes is not None
    assert abs(size_of(split, Segment.UNATTRIBUTED)) < split.driver.value_bytes // 10
    assert view.plan_note.startswith("computed for llama.cpp b11434")


def test_other_processes_are_what_the_servers_leave() -> None:
    frame = _frames(scenario("rtx4090_llamacpp"), 8.0)
    assert frame.devices[0].other_bytes == 612 * MIB


def test_a_host_without_accelerator_is_explained_in_host_memory() -> None:
    view = _only(_frames(scenario("cpu_only"), 8.0))
    (split,) = view.splits
    assert (split.device_id, split.driver.value_bytes) == ("host", 7_050 * MIB)
    assert split.memory[Segment.WEIGHTS].value_bytes
    assert split.memory[Segment.KV_CACHE].value_bytes
    assert split.kv_used_bytes


def test_a_lost_device_keeps_its_last_figures_and_grows_old() -> None:
    frame = _frames(scenario("gpu_lost"), 8.0)
    lost = frame.devices[0]
    assert lost.device.state is DeviceState.LOST
    assert lost.age_seconds == 6.0
    assert _only(frame).splits[0].driver.value_bytes == 18_140 * MIB


def test_a_driver_that_says_nothing_of_a_process_makes_the_total_unknown() -> None:
    sample = scenario("rtx4090_llamacpp").at(8.0)
    card = replace(sample.devices[0], processes=(ProcessMemory(4711, None, ("compute",)),))
    view = _only(analyse(History(), replace(sample, devices=(card,)), "1"))
    (split,) = view.splits
    assert split.driver.value_bytes is None
    assert split.memory[Segment.UNATTRIBUTED].value_bytes is None
    assert split.memory[Segment.WEIGHTS].value_bytes


def test_unreadable_process_lists_are_no_proof_that_nobody_is_there() -> None:
    sample = scenario("rtx4090_llamacpp").at(8.0)
    card = replace(sample.devices[0], processes=None)
    frame = analyse(History(), replace(sample, devices=(card,), processes=()), "1")
    assert all(split.driver.value_bytes is None for split in _only(frame).splits)


def test_a_remote_server_is_computed_and_not_measured() -> None:
    sample = _with_server(_card_sample(), replace(_card_sample().servers[0], pids=(), is_remote=True))
    view = _only(analyse(History(), sample, "1"))
    assert view.splits
    assert all(split.driver.value_bytes is None for split in view.splits)
    assert all("not measured" in split.device_id for split in view.splits)


def test_without_a_command_line_nothing_is_computed_and_cache_types_are_unknown() -> None:
    view = _only(analyse(History(), _with_server(_card_sample(), replace(_card_sample().servers[0], launch=None)), "1"))
    assert view.plan is None
    assert "unknown" in view.plan_note
    assert (view.kv_cache.type_k, view.kv_cache.type_v) == (None, None)
    assert view.kv_cache.capacity_tokens is None
    assert view.splits[0].memory[Segment.UNATTRIBUTED].value_bytes == view.splits[0].driver.value_bytes


def test_without_the_model_file_the_note_says_so() -> None:
    view = _only(
        analyse(History(), _with_server(_card_sample(), replace(_card_sample().servers[0], model_key=None)), "1")
    )
    assert view.plan is None
    assert "model file" in view.plan_note


def test_a_locked_endpoint_still_has_its_memory_but_no_use() -> None:
    view = _only(_frames(scenario("locked_endpoint"), 8.0))
    assert view.plan is not None
    assert view.kv_cache.used_tokens is None
    assert view.kv_cache.used_ratio is None
    assert all(split.kv_used_bytes is None for split in view.splits)


def test_rates_need_two_samples() -> None:
    chosen = scenario("rtx4090_llamacpp")
    assert _only(_frames(chosen, 8.0)).generated_tokens_per_second is None
    assert _only(_frames(chosen, 7.0, 8.0)).generated_tokens_per_second == pytest.approx(3 * 18)


def test_plans_are_remembered_and_give_the_same_answer() -> None:
    history, chosen = History(), scenario("rtx4090_llamacpp")
    first = _only(analyse(history, chosen.at(7.0), "1")).plan
    assert first is _only(analyse(history, chosen.at(8.0), "1")).plan
    assert len(history.plans.plans) == 1


def test_a_plan_says_where_an_environment_was_closed_to_it() -> None:
    """LLAMA_ARG_CACHE_TYPE_K may stand there."""
    sample = scenario("rtx4090_llamacpp").at(0.0)
    words = "its environment could not be read"
    assert words not in analyse(History(), sample, "1").servers[0].plan_note
    closed = tuple(replace(process, environ=None) for process in sample.processes)
    assert words in analyse(History(), replace(sample, processes=closed), "1").servers[0].plan_note
