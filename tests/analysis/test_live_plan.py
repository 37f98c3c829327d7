"""The plan behind a running server holds to what the server says of itself."""

from dataclasses import replace

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.analysis.attribution.calibration import Calibrations
from kvtop.analysis.attribution.disagreements import disagreements
from kvtop.analysis.attribution.explained_memory import EXPLAINED, merged
from kvtop.analysis.attribution.observation import Observation
from kvtop.analysis.attribution.splits import Runtime
from kvtop.analysis.planned.live_plan import PlanMemory, live_plan
from kvtop.analysis.planned.placement import placed
from kvtop.domain.compute_api import CUDA
from kvtop.domain.device import Device, DeviceMemory, DeviceState, ProcessMemory
from kvtop.domain.driver import HOST_DRIVER
from kvtop.domain.engine_report import HostedModel, PoolReport, Rank, RankReport
from kvtop.domain.figure import Basis, Figure
from kvtop.domain.frame import ServerView
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.memory import Memory, Segment
from kvtop.domain.process import Process
from kvtop.domain.sample import Sample
from kvtop.domain.server import ServerReading, ServerState
from kvtop.sources.devices.nvml import NVML
from tests.amounts import rank_report, size_of
from tests.models.tiny_models import tiny_checkpoint

GIB = 2**30


def launch(engine: str, **options: str) -> LaunchOptions:
    rows = tuple(LaunchOption(name.replace("_", "-"), value, Origin.ARGV) for name, value in options.items())
    return LaunchOptions(engine, rows)


def card(index: int, pid: int, used_bytes: int) -> Device:
    memory = DeviceMemory(80 * GIB, used_bytes, 80 * GIB - used_bytes)
    rows = (ProcessMemory(pid, used_bytes),)
    return Device(f"gpu{index}", "NVIDIA H100", NVML, memory, rows, 0.0, compute_capability=(9, 0))


def host() -> Device:
    return Device("host", "host memory", HOST_DRIVER, DeviceMemory(64 * GIB, GIB, 63 * GIB), (), 0.0)


def vllm(tp: int, *, blocks: int = 5000, **changes: object) -> ServerReading:
    ranks = tuple(Rank(100 + rank, "worker", tensor_parallel_index=rank) for rank in range(tp))
    reading = ServerReading(
        "127.0.0.1:8000",
        "vllm",
        ServerState.READY,
        version="0.32.0",
        pids=tuple(range(100, 100 + tp)),
        launch=launch("vllm", model="/m", tensor_parallel_size=str(tp)),
        pools=(PoolReport(0, capacity_tokens=blocks * 16, block_count=blocks, block_size_tokens=16, used_ratio=0.25),),
        ranks=ranks,
        model_key="/m",
    )
    return replace(reading, **changes)  # type: ignore[arg-type]  # names of fields, each with its own type


def view_of(reading: ServerReading, *devices: Device) -> ServerView:
    processes = tuple(Process(pid, 1, "x", (), rss_bytes=GIB) for pid in reading.pids)
    sample = Sample(1.0, "h", (*devices, host()), processes, (reading,), {"/m": tiny_checkpoint()})
    return analyse(History(), sample, "1").servers[0]


def test_a_vllm_pool_is_the_blocks_that_the_server_reports() -> None:
    view = view_of(vllm(1), card(0, 100, 20 * GIB))
    split = view.splits[0]
    bytes_per_block = 2 * 2 * 16 * 2 * 64 * 2  # K and V, layers, tokens, heads, head length, bfloat16
    assert split.memory[Segment.KV_CACHE].value_bytes == 5000 * bytes_per_block
    assert split.memory[Segment.KV_CACHE].basis is Basis.COMPUTED
    assert split.kv_used_bytes == round(5000 * bytes_per_block * 0.25)
    assert (view.kv_cache.capacity_tokens, view.kv_cache.used_tokens) == (80_000, 20_000)
    assert sum(figure.value_bytes or 0 for _, figure in split.memory.parts) == 20 * GIB
    assert view.disagreements == ()


def test_ranks_are_planned_on_the_devices_that_list_their_processes() -> None:
    devices = (card(0, 101, 30 * GIB), card(1, 100, 31 * GIB))
    reading = vllm(2)
    on = placed(reading, devices)
    assert [device.id for device in on.devices] == ["gpu1", "gpu0"]
    assert on.name_of("gpu1") == "gpu0"
    view = view_of(reading, *devices)
    assert [split.device_id for split in view.splits] == ["gpu0", "gpu1", "host"]
    whole = view_of(vllm(1), card(0, 100, 30 * GIB)).splits[0].memory[Segment.KV_CACHE].value_bytes
    assert whole is not None
    assert [split.memory[Segment.KV_CACHE].value_bytes for split in view.splits[:2]] == [whole // 2, whole // 2]


@pytest.mark.parametrize(
    ("visible", "order"),
    [
        (None, ["gpu0", "gpu1", "gpu2"]),
        ("2,0", ["gpu2", "gpu0", "gpu1"]),
        ("GPU-b,0", ["gpu1", "gpu0", "gpu2"]),
        ("1,nonsense,0", ["gpu1", "gpu0", "gpu2"]),
        ("nonsense,,1", ["gpu0", "gpu1", "gpu2"]),
    ],
)
def test_devices_without_ranks_are_in_the_order_that_the_server_sees(visible: str | None, order: list[str]) -> None:
    uuids = ("GPU-aaaa", "GPU-bbbb", "GPU-cccc")
    devices = tuple(replace(card(index, 100, GIB), uuid=uuid) for index, uuid in enumerate(uuids))
    reading = vllm(1, engine="llama.cpp", ranks=())
    on = placed(reading, devices, devices, {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert [device.id for device in on.devices] == order
    assert on.name_of(order[0]) == "gpu0"


def test_each_engine_of_a_data_parallel_server_is_as_full_as_its_own_pool() -> None:
    pools = tuple(PoolReport(index, 80_000, 5000, 16, used_ratio=ratio) for index, ratio in enumerate((0.25, 0.75)))
    ranks = (Rank(100, "engine core", data_parallel_index=1), Rank(101, "engine core", data_parallel_index=0))
    told = launch("vllm", model="/m", data_parallel_size="2")
    reading = vllm(2, launch=told, pools=pools, ranks=ranks)
    view = view_of(reading, card(0, 100, 20 * GIB), card(1, 101, 20 * GIB))
    by_device = {split.device_id: split for split in view.splits}
    held = by_device["gpu0"].memory[Segment.KV_CACHE].value_bytes
    assert held
    assert by_device["gpu1"].memory[Segment.KV_CACHE].value_bytes == held
    assert (by_device["gpu0"].kv_used_bytes, by_device["gpu1"].kv_used_bytes) == (held * 3 // 4, held // 4)
    assert view.kv_cache.capacity_tokens == 160_000


def test_used_bytes_are_those_of_whole_blocks() -> None:
    """60 of 1023 usable blocks, as a real vLLM 0.32 reported them: the null block is in the pool and never used."""
    pool = PoolReport(0, 1024 * 16, 1024, 16, used_ratio=60 / 1023, null_blocks=1)
    view = view_of(vllm(1, pools=(pool,)), card(0, 100, 20 * GIB))
    size_bytes = view.splits[0].memory[Segment.KV_CACHE].value_bytes
    assert size_bytes
    assert size_bytes % 1024 == 0
    assert view.splits[0].kv_used_bytes == 60 * size_bytes // 1024
    assert view.kv_cache.used_tokens == 60 * 16


def test_stages_of_a_pipeline_hold_their_own_layers() -> None:
    ranks = tuple(Rank(100 + stage, "worker", pipeline_parallel_index=stage) for stage in range(2))
    told = launch("vllm", model="/m", pipeline_parallel_size="2")
    whole = view_of(vllm(1), card(0, 100, 20 * GIB)).splits[0]
    view = view_of(vllm(2, launch=told, ranks=ranks), card(0, 101, 20 * GIB), card(1, 100, 20 * GIB))
    assert [split.device_id for split in view.splits] == ["gpu0", "gpu1", "host"]
    assert whole.memory[Segment.KV_CACHE].value_bytes is not None
    assert [split.memory[Segment.KV_CACHE].value_bytes for split in view.splits[:2]] == [
        size_of(whole, Segment.KV_CACHE) // 2
    ] * 2
    weights = [size_of(split, Segment.WEIGHTS) or 0 for split in view.splits[:2]]
    assert sum(weights) == size_of(whole, Segment.WEIGHTS)


def test_host_memory_of_a_gpu_server_is_not_divided_into_what_lies_on_the_card() -> None:
    split = view_of(vllm(1), card(0, 100, 20 * GIB)).splits[-1]
    assert split.device_id == "host"
    assert (split.memory[Segment.WEIGHTS].value_bytes, split.memory[Segment.KV_CACHE].value_bytes) == (0, 0)
    assert (split.memory[Segment.RUNTIME].value_bytes, split.memory[Segment.UNATTRIBUTED].value_bytes) == (GIB, 0)


def test_vllm_without_accelerators_is_planned_in_host_memory() -> None:
    pool = PoolReport(0, 1024 * 128, 1024, 128, 0, 0.5)
    view = view_of(replace(vllm(1), pools=(pool,)))
    assert [split.device_id for split in view.splits] == ["host"]
    assert view.splits[0].memory[Segment.KV_CACHE].value_bytes == 1024 * (2 * 2 * 128 * 2 * 64 * 2)
    assert view.splits[0].memory[Segment.COMPUTE].basis is Basis.UNKNOWN


def test_a_report_that_differs_from_the_computation_is_shown() -> None:
    weights = view_of(vllm(1), card(0, 100, 20 * GIB)).splits[0].memory[Segment.WEIGHTS].value_bytes
    assert weights is not None
    report = rank_report(0, "gpu0", weights=weights + 10, rounding_bytes=4, source="/get_server_info")
    found = view_of(vllm(1, memory_reports=(report,)), card(0, 100, 20 * GIB)).disagreements
    assert [(it.segment, it.reported - it.computed, it.tolerance) for it in found] == [("weights", 10, 2)]
    near = rank_report(0, "gpu0", weights=weights + 2, rounding_bytes=4, source="/get_server_info")
    assert view_of(vllm(1, memory_reports=(near,)), card(0, 100, 20 * GIB)).disagreements == ()
    other = vllm(1, pools=(PoolReport(0, 79_000, 5000, 16),))
    assert [it.segment for it in view_of(other, card(0, 100, 20 * GIB)).disagreements] == ["kv_cache_tokens"]


def test_what_an_engine_reports_stands_where_nothing_can_be_computed() -> None:
    report = rank_report(0, "gpu0", weights=15 * GIB, kv_cache=40 * GIB, source="/get_server_info")
    reading = vllm(1, engine="sglang", launch=launch("sglang"), memory_reports=(report,))
    split = view_of(reading, card(0, 100, 60 * GIB)).splits[0]
    assert (split.memory[Segment.WEIGHTS].value_bytes, split.memory[Segment.WEIGHTS].basis) == (
        15 * GIB,
        Basis.REPORTED,
    )
    assert split.kv_used_bytes == 10 * GIB
    assert split.memory[Segment.COMPUTE].value_bytes is None


def test_an_mlx_cache_is_unknown_and_never_a_number() -> None:
    reading = vllm(1, engine="mlx", launch=launch("mlx", model="/m"), pools=(), ranks=())
    split = view_of(reading).splits[0]
    assert split.memory[Segment.WEIGHTS].value_bytes == tiny_checkpoint().tensor_bytes
    assert split.memory[Segment.KV_CACHE].value_bytes is None
    assert view_of(reading).kv_cache.bytes_per_token == 2 * 2 * 2 * 64 * 2


def test_what_a_wrapped_mlx_server_reports_beside_its_weights_is_its_cache() -> None:
    weights = tiny_checkpoint().tensor_bytes
    assert weights is not None
    report = RankReport(
        device_id="host", active_bytes=weights + 4096, kept_bytes=512, total_bytes=weights + 4608, source="wrap"
    )
    reading = vllm(1, engine="mlx", launch=launch("mlx", model="/m"), pools=(), ranks=(), memory_reports=(report,))
    (split,) = view_of(reading).splits
    assert (split.memory[Segment.KV_CACHE].value_bytes, split.memory[Segment.KV_CACHE].basis) == (4096, Basis.REPORTED)
    assert (split.memory[Segment.COMPUTE].value_bytes, split.memory[Segment.COMPUTE].basis) == (512, Basis.REPORTED)
    assert sum(figure.value_bytes or 0 for _, figure in split.memory.parts) == GIB
    low = replace(report, active_bytes=weights - 1)
    assert view_of(replace(reading, memory_reports=(low,))).splits[0].memory[Segment.KV_CACHE].value_bytes is None


def test_an_mlx_server_with_cuda_is_on_its_card() -> None:
    """MLX's rules know one memory; where a driver lists the process, that is the card's and not the host's."""
    weights = tiny_checkpoint().tensor_bytes
    assert weights is not None
    report = RankReport(device_id="host", active_bytes=weights + 4096, kept_bytes=512, source="wrap")
    reading = vllm(1, engine="mlx", launch=launch("mlx", model="/m"), pools=(), ranks=(), memory_reports=(report,))
    on_card, on_host = view_of(reading, card(0, 100, 20 * GIB)).splits
    assert (
        on_card.device_id,
        on_card.memory[Segment.WEIGHTS].value_bytes,
        on_card.memory[Segment.KV_CACHE].value_bytes,
    ) == ("gpu0", weights, 4096)
    assert sum(figure.value_bytes or 0 for _, figure in on_card.memory.parts) == 20 * GIB
    assert on_host.device_id == "host"
    assert on_host.memory[Segment.WEIGHTS].value_bytes in {0, None}
    many = view_of(reading, card(0, 100, GIB), card(1, 100, GIB))
    assert many.plan is None
    assert "2 cards" in many.plan_note


def test_a_report_of_one_rank_speaks_for_all_ranks_of_its_engine() -> None:
    report = rank_report(0, None, weights=15 * GIB, kv_cache=40 * GIB, source="/server_info")
    reading = vllm(2, engine="sglang", launch=launch("sglang"), memory_reports=(report,))
    splits = view_of(reading, card(0, 100, 60 * GIB), card(1, 101, 60 * GIB)).splits
    assert [split.memory[Segment.WEIGHTS].value_bytes for split in splits] == [15 * GIB, 15 * GIB, None]


def test_what_a_rank_reports_is_never_put_into_host_memory() -> None:
    """No driver says which card it means: by a URL alone, or beside a driver that cannot be read."""
    reports = tuple(rank_report(index, weights=15 * GIB, kv_cache=40 * GIB) for index in (0, 1))
    alone = vllm(1, engine="sglang", launch=launch("sglang"), memory_reports=reports[:1], model_key=None)
    on_host, ranks = view_of(alone).splits
    assert (
        on_host.device_id,
        on_host.memory[Segment.WEIGHTS].value_bytes,
        on_host.memory[Segment.UNATTRIBUTED].value_bytes,
    ) == ("host", None, GIB)
    assert (ranks.device_id, ranks.driver.value_bytes) == ("each rank (not measured)", None)
    assert (ranks.memory[Segment.WEIGHTS].value_bytes, ranks.memory[Segment.KV_CACHE].basis) == (
        15 * GIB,
        Basis.REPORTED,
    )
    assert ranks.memory[Segment.UNATTRIBUTED].value_bytes is None
    remote = view_of(replace(alone, pids=(), is_remote=True, memory_reports=reports)).splits
    assert [split.device_id for split in remote] == [f"each rank of engine {it} (not measured)" for it in (0, 1)]
    (on_cpu,) = view_of(replace(alone, launch=launch("sglang", device="cpu"))).splits
    assert (on_cpu.device_id, on_cpu.memory[Segment.WEIGHTS].value_bytes) == ("host", 15 * GIB)


@pytest.mark.parametrize("engine", ["ollama", "llama-swap"])
def test_a_proxy_is_on_no_card_however_much_it_hides(engine: str) -> None:
    hiding = replace(card(0, 100, GIB), processes=None)
    reading = vllm(1, engine=engine, launch=launch(engine), hosted=(HostedModel("m"),), pools=(), ranks=())
    assert [split.device_id for split in view_of(reading, hiding).splits] == ["host"]


def test_a_log_speaks_in_the_engines_own_count_of_devices() -> None:
    report = rank_report(0, "engine gpu0", weights=3 * GIB, kv_cache=GIB, rounding_bytes=10, source="log")
    other = rank_report(0, "host", weights=None, kv_cache=0, compute=7, source="log")
    reading = vllm(1, engine="llama.cpp", launch=launch("llama.cpp"), model_key=None, memory_reports=(report, other))
    on_card, on_host = view_of(replace(reading, pools=(), ranks=()), card(1, 100, 20 * GIB)).splits
    assert (on_card.device_id, on_card.memory[Segment.WEIGHTS].value_bytes, on_card.memory[Segment.KV_CACHE].basis) == (
        "gpu1",
        3 * GIB,
        Basis.REPORTED,
    )
    assert (on_host.memory[Segment.WEIGHTS].value_bytes, on_host.memory[Segment.COMPUTE].value_bytes) == (None, 7)


def test_a_reported_figure_stands_for_an_estimate_and_differs_only_outside_its_range() -> None:
    estimate = Figure(100, Basis.ESTIMATED, 80, 130)
    planned, reported = compute_of(estimate), compute_of(Figure(120, Basis.REPORTED))
    assert merged(planned, reported) == reported
    row = measured_on_card(GIB, planned=planned, reported=reported)
    assert disagreements(vllm(1, pools=()), None, (row,)) == ()
    far = replace(row, reported=compute_of(Figure(150, Basis.REPORTED)), rounding_bytes=20)
    (found,) = disagreements(vllm(1, pools=()), None, (far,))
    assert (found.segment, found.computed, found.reported, found.tolerance) == ("compute", 100, 150, 40)


def compute_of(figure: Figure) -> Memory:
    return Memory.of({Segment.COMPUTE: figure})


def planned_memory(*figures: Figure) -> Memory:
    return Memory.of(dict(zip(EXPLAINED, figures, strict=True)))


def measured_on_card(total_bytes: int, **changes: object) -> Observation:
    exact = Figure(GIB, Basis.COMPUTED)
    parts = planned_memory(exact, exact, Figure(0, Basis.COMPUTED), exact)
    row = Observation(
        "gpu0", Runtime(CUDA.runtime_prior), "gpu0", Figure(total_bytes, Basis.MEASURED), parts, None, DeviceState.OK
    )
    return replace(row, **changes)  # type: ignore[arg-type]  # names of fields, each with its own type


@pytest.mark.parametrize(("pids", "kept"), [((100,), True), ((200,), False)])
def test_a_calibration_belongs_to_one_run_of_a_server(pids: tuple[int, ...], kept: bool) -> None:
    calibrations, reading = Calibrations(), vllm(1)
    (on_card,) = calibrations.learn(reading, (measured_on_card(5 * GIB),))
    assert on_card.beyond_bytes == 2 * GIB
    again = calibrations.learn(replace(reading, pids=pids), ())
    assert (again != ()) is kept


@pytest.mark.parametrize("state", [ServerState.LOADING, ServerState.SLEEPING, ServerState.ERROR])
def test_a_server_that_does_not_hold_its_plan_teaches_nothing(state: ServerState) -> None:
    calibrations, reading = Calibrations(), vllm(1)
    calibrations.learn(reading, (measured_on_card(5 * GIB),))
    (kept,) = calibrations.learn(replace(reading, state=state), (measured_on_card(3 * GIB),))
    assert kept.beyond_bytes == 2 * GIB


def test_an_estimate_that_is_too_high_is_corrected_and_missing_pages_are_not() -> None:
    exact = Figure(GIB, Basis.COMPUTED)
    wide = planned_memory(exact, exact, exact, Figure(4 * GIB, Basis.ESTIMATED, GIB, 9 * GIB))
    (cut,) = Calibrations().learn(vllm(1), (measured_on_card(5 * GIB, planned=wide),))
    assert cut.beyond_bytes == -2 * GIB
    (least,) = Calibrations().learn(vllm(1), (measured_on_card(GIB, planned=wide),))
    assert least.beyond_bytes == -3 * GIB
    (sparse,) = Calibrations().learn(vllm(1), (measured_on_card(GIB),))
    assert sparse.beyond_bytes == 0


def test_a_device_that_does_not_answer_teaches_nothing() -> None:
    lost = measured_on_card(9 * GIB, state=DeviceState.LOST)
    assert Calibrations().learn(vllm(1), (lost, measured_on_card(9 * GIB, planned=None))) == ()


def test_calibration_of_a_running_server_is_what_its_plan_leaves() -> None:
    view = view_of(vllm(1), card(0, 100, 20 * GIB))
    assert view.plan is not None
    part = view.plan.devices[0]
    assert part.memory.bytes_of(Segment.WEIGHTS) is not None
    assert part.memory.bytes_of(Segment.KV_CACHE) is not None
    planned = size_of(part, Segment.WEIGHTS) + size_of(part, Segment.KV_CACHE) + size_of(part, Segment.COMPUTE)
    assert {it.device_id: it.beyond_bytes for it in view.calibration} == {"gpu0": 20 * GIB - planned}


def test_every_fact_says_where_it_was_learnt() -> None:
    view = view_of(vllm(1), card(0, 100, 20 * GIB))
    learnt = {fact.name: fact.origin for fact in view.facts}
    assert learnt["tensor-parallel-size"] is Origin.ARGV
    assert learnt["process"] is Origin.FILE
    assert {"KV blocks", "version"} <= learnt.keys()


@pytest.mark.parametrize(
    ("engine", "ranks", "words"),
    [
        ("ollama", (), "a server of its own"),
        ("llama-swap", (), "a server of its own"),
        ("ollama", (Rank(11, "runner"),), "older runners"),
        ("lm-studio", (), "does not report"),
    ],
)
def test_a_server_of_several_models_says_why_it_has_no_plan(engine: str, ranks: tuple[Rank, ...], words: str) -> None:
    hosted, is_proxy = (HostedModel("m"),), engine != "lm-studio"
    reading = ServerReading("s", engine, ServerState.READY, hosted=hosted, ranks=ranks, is_proxy=is_proxy)
    plan, note = live_plan(PlanMemory(), reading, {}, ())
    assert plan is None
    assert words in note


def test_the_version_of_an_mlx_server_is_told_by_its_report_and_not_by_its_endpoint() -> None:
    reading = vllm(1, engine="mlx", launch=launch("mlx", model="/m"), pools=(), ranks=(), version="0.32.2")
    (fact,) = [it for it in view_of(reading).facts if it.name == "version"]
    assert (fact.value, fact.origin) == ("0.32.2", Origin.FILE)
    assert "kvtop wrap" in fact.detail


@pytest.mark.parametrize(("engine", "words"), [("triton", "no memory rules for triton"), ("vllm", "see Sources")])
def test_where_no_rule_would_help_no_model_file_is_blamed(engine: str, words: str) -> None:
    reading = vllm(1, engine=engine, launch=launch(engine), model_key=None, pools=(), ranks=())
    assert words in view_of(reading).plan_note


@pytest.mark.parametrize(
    ("version", "rules"),
    [("0.6.6", "0.24.0"), ("0.11.2", "0.24.0"), ("0.32.1rc0+cu129", "0.32.0")],
)
def test_a_server_of_another_version_is_estimated_by_type(version: str, rules: str) -> None:
    view = view_of(vllm(1, version=version), card(0, 100, 40 * GIB))
    assert view.plan is not None
    assert f"estimated: rules of {rules}, not validated for {version}" in view.plan_note
    assert {split.memory[Segment.WEIGHTS].basis for split in view.splits if split.device_id != "host"} <= {
        Basis.ESTIMATED,
        Basis.UNKNOWN,
    }


def test_a_server_between_two_checked_versions_is_told_of_both() -> None:
    view = view_of(vllm(1, version="0.25.1"), card(0, 100, 40 * GIB))
    assert view.plan is not None
    assert "0.25.1 lies between 0.24.0 and 0.32.0, which were checked" in view.plan_note


@pytest.mark.parametrize("version", ["0.32.0", "0.32.0+cpu", None])
def test_a_server_of_the_checked_version_is_not_told_of_another(version: str | None) -> None:
    view = view_of(vllm(1, version=version), card(0, 100, 40 * GIB))
    assert view.plan_note.startswith("computed for vLLM 0.32.0")
    assert "not validated" not in view.plan_note


def test_the_cpu_build_of_the_checked_version_is_not_told_of_another() -> None:
    view = view_of(vllm(1, version="0.32.0"))
    assert view.plan_note == "computed for vLLM 0.32.0 on the CPU"


def test_what_was_free_before_a_server_came_is_unknown_where_the_driver_hides_its_bytes() -> None:
    seen = card(0, 100, 20 * GIB)
    hidden = replace(seen, processes=(ProcessMemory(100, None),))
    assert placed(vllm(1), (seen,)).plan_devices[0].free_bytes == 80 * GIB
    assert placed(vllm(1), (hidden,)).plan_devices[0].free_bytes is None


@pytest.mark.parametrize(
    ("free_mib", "expected_mib"), [(63, 0), (64, 64), (65, 64), (127, 64), (128, 128), (1000, 960)]
)
def test_what_was_free_is_rounded_down_to_64_mib(free_mib: int, expected_mib: int) -> None:
    """Other processes breathe; a split over devices that followed each MiB of them would flicker."""
    seen = card(0, 100, 0)
    seen = replace(seen, memory=replace(seen.memory, free_bytes=free_mib * 2**20))
    assert placed(vllm(1), (seen,)).plan_devices[0].free_bytes == expected_mib * 2**20
