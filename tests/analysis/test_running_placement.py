"""A running llama-server that `--fit` placed: its plan, its what-ifs and its findings follow where its layers lie."""

from dataclasses import replace

from kvtop.analysis.analyse import History, analyse
from kvtop.analysis.lint.observed import Observed
from kvtop.analysis.lint.rule import Found
from kvtop.analysis.lint.rules import sleep_after_fit
from kvtop.analysis.lint.surroundings import ModelFiles, Surroundings
from kvtop.analysis.lint.target import LintTarget
from kvtop.analysis.planned.live_what_if import WhatIfBaseline, answer, what_if_baseline
from kvtop.domain.device import Device, DeviceMemory, ProcessMemory
from kvtop.domain.driver import HOST_DRIVER
from kvtop.domain.engine_report import RankReport
from kvtop.domain.figure import Basis
from kvtop.domain.frame import ServerView
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.domain.process import Process
from kvtop.domain.sample import Sample
from kvtop.domain.server import ServerReading, ServerState
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from kvtop.sources.devices.nvml import NVML
from tests.amounts import rank_report
from tests.models.rule_models import gguf_models

GIB, MIB = 2**30, 2**20
NAME = "llama-3.1-8b"


def held_with(layers: int, context: int = 8192) -> int:
    """What a driver reports of a server with so many layers on its card."""
    settings = LlamaSettings(ctx_tokens=context, gpu_layers=layers, fit=False)
    found = plan(prepare(gguf_models()[NAME]), settings, (PlanDevice("gpu0", 8 * GIB, 8 * GIB),))
    assert isinstance(found, MemoryPlan)
    card = found.device("gpu0")
    assert card is not None
    return (card.memory.total.value_bytes or 0) + 300 * MIB


def view_of(held: int, free: int, *reports: RankReport, **options: str) -> tuple[Sample, History, ServerView]:
    rows = tuple(LaunchOption(name.replace("_", "-"), value, Origin.ARGV) for name, value in options.items())
    reading = ServerReading(
        "127.0.0.1:8080",
        "llama.cpp",
        ServerState.READY,
        version="b11434",
        pids=(100,),
        launch=LaunchOptions("llama.cpp", (LaunchOption("model", "/m.gguf", Origin.ARGV), *rows)),
        model_key="/m.gguf",
        memory_reports=reports,
    )
    memory = DeviceMemory(held + free, held, free)
    card = Device("gpu0", "NVIDIA H100", NVML, memory, (ProcessMemory(100, held),), 0.0, compute_capability=(9, 0))
    host = Device("host", "host memory", HOST_DRIVER, DeviceMemory(64 * GIB, GIB, 63 * GIB), (), 0.0)
    processes = (Process(100, 1, "llama-server", ("llama-server", "-m", "/m.gguf"), rss_bytes=GIB),)
    sample = Sample(1.0, "h", (card, host), processes, (reading,), {"/m.gguf": gguf_models()[NAME]})
    history = History()
    return sample, history, analyse(history, sample, "1").servers[0]


def weights_on(view: ServerView, name: str) -> int:
    part = None if view.plan is None else view.plan.device(name)
    assert part is not None
    return part.memory.bytes_of(Segment.WEIGHTS) or 0


def test_the_plan_has_the_layers_that_the_driver_has_room_for() -> None:
    _, _, whole = view_of(held_with(33), 4 * GIB, ctx_size="8192")
    _, _, split = view_of(held_with(16), 200 * MIB, ctx_size="8192")
    assert "all layers offloaded" in whole.plan_note
    assert "16 of 33 layers offloaded" in split.plan_note or "inferred from" in split.plan_note
    assert weights_on(split, "gpu0") < 0.6 * weights_on(whole, "gpu0")
    assert split.reading.launch is not None
    assumed = [it for it in split.reading.launch.options if it.origin is Origin.ASSUMED]
    assert [it.name for it in assumed] == ["gpu-layers"]
    assert abs(int(assumed[0].value) - 16) <= 2
    # What the driver's figure leaves open is a range, and the truth is in it.
    part = None if split.plan is None else split.plan.device("gpu0")
    assert part is not None
    weights = part.memory[Segment.WEIGHTS]
    assert weights.basis is Basis.ESTIMATED
    exact = plan(
        prepare(gguf_models()[NAME]),
        LlamaSettings(ctx_tokens=8192, gpu_layers=16, fit=False),
        (PlanDevice("gpu0", 8 * GIB, 8 * GIB),),
    )
    assert isinstance(exact, MemoryPlan)
    true = exact.devices[0].memory.bytes_of(Segment.WEIGHTS) or 0
    assert weights.least_bytes <= true <= (weights.most_bytes or 0)


def test_the_log_is_believed_before_the_driver() -> None:
    found = plan(
        prepare(gguf_models()[NAME]),
        LlamaSettings(ctx_tokens=8192, gpu_layers=20, fit=False),
        (PlanDevice("gpu0", 8 * GIB, 8 * GIB),),
    )
    assert isinstance(found, MemoryPlan)
    card = found.device("gpu0")
    assert card is not None
    report = rank_report(
        device_id="engine gpu0", weights=card.memory.bytes_of(Segment.WEIGHTS), rounding_bytes=MIB // 100
    )
    _, _, view = view_of(held_with(33), 4 * GIB, report, ctx_size="8192")
    assert "20 of 33 layers offloaded: by the buffers in its log" in view.plan_note


def test_a_typed_placement_stands_and_a_loading_server_says_nothing() -> None:
    _, _, typed = view_of(held_with(16), 200 * MIB, ctx_size="8192", gpu_layers="33")
    assert "offloaded" not in typed.plan_note
    sample, _, _ = view_of(held_with(3), 200 * MIB, ctx_size="8192")
    loading = replace(sample, servers=(replace(sample.servers[0], state=ServerState.LOADING),))
    view = analyse(History(), loading, "1").servers[0]
    assert view.reading.launch is not None
    assert all(it.origin is not Origin.ASSUMED for it in view.reading.launch.options)


def test_a_what_if_of_it_is_fitted_as_a_restart_would_be() -> None:
    sample, history, view = view_of(held_with(16), 200 * MIB, ctx_size="8192")
    baseline = what_if_baseline(sample, view, history.plans)
    assert isinstance(baseline, WhatIfBaseline)
    assert view.plan is not None
    assert [it.memory.total.value_bytes for it in baseline.now.devices] == [
        it.memory.total.value_bytes for it in view.plan.devices
    ]
    longer = answer(baseline, baseline.base.with_changes(ctx_size="32768")).comparison
    assert "on a restart --fit sets" in longer.adjusted
    assert "layers on gpu0" in longer.adjusted
    assert isinstance(longer.then, MemoryPlan)
    card = longer.then.device("gpu0")
    assert card is not None
    assert (card.memory.total.value_bytes or 0) < held_with(16) + 200 * MIB
    assert "gpu-layers" not in answer(baseline, baseline.base.with_changes(ctx_size="32768")).command


def test_a_sleeping_server_that_fit_placed_over_cards_is_warned_of() -> None:
    _, _, view = view_of(held_with(16), 200 * MIB, ctx_size="8192", sleep_idle_seconds="300")
    # One card without overrides is safe: nothing that the fit wrote stays.
    assert "sleep-after-fit" not in {it.slug for it in view.findings}
    assert view.reading.launch is not None
    split = LaunchOption("tensor-split", "10,6", Origin.ASSUMED, "16 of 33 layers offloaded: by the driver's figures")
    reading = replace(view.reading, launch=replace(view.reading.launch, options=(*view.reading.launch.options, split)))
    devices = (PlanDevice("gpu0", 8 * GIB, 4 * GIB), PlanDevice("gpu1", 8 * GIB, 4 * GIB))
    files = ModelFiles(NAME, prepare(gguf_models()[NAME]), "", None)
    target = LintTarget.from_server(reading, files, Surroundings(devices=devices), view.plan, "", Observed())
    found = sleep_after_fit.check(target)
    assert isinstance(found, Found)
    assert "aborts" in found.message
    assert "by the driver's figures" in found.evidence
