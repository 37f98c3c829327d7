"""What a vLLM server's answers mean, from replies of real servers."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from kvtop.domain.engine_report import PoolReport, Rank
from kvtop.domain.launch import LaunchOptions, Origin
from kvtop.domain.process import Listener, Process
from kvtop.domain.server import Counters, ServerReading, ServerState
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.engines import engine_of_replies, vllm

Recorded = Callable[[str, str], Reply]
NAMES = ("metrics", "v1_models", "version", "health")
ARGV = ("/venv/bin/python3", "/venv/bin/vllm", "serve", "/models/llama", "--port", "18100", "--max-num-seqs", "8")
ROOT = Process(10, 1, "vllm", ARGV, listeners=(Listener("127.0.0.1", 18100),))


def title(pid: int, text: str) -> Process:
    # As the kernel shows a title that was written over a longer command line.
    return Process(pid, 10, text[:15], (f"{text}        ",))


def known(replies: Sequence[Reply], processes: Sequence[Process] = (ROOT,)) -> ServerInputs:
    options = vllm.launch(ARGV, {}, [])
    return ServerInputs(
        "s", "http://127.0.0.1:18100", {it.path: it for it in replies}, options, tuple(processes), "", True
    )


def read(recorded: Recorded, folder: str, *names: str) -> ServerReading:
    return vllm.read(known([recorded(f"vllm/{folder}", name) for name in names or NAMES]))


def test_an_idle_server(recorded: Recorded) -> None:
    reading = read(recorded, "idle")
    assert (reading.state, reading.hint, reading.version) == (ServerState.READY, "", "0.32.0")
    assert reading.pools == (
        PoolReport(
            engine_index=0,
            capacity_tokens=131072,
            block_count=1024,
            block_size_tokens=128,
            budget_bytes=64 * 2**20,
            used_ratio=0.0,
            max_concurrency=64.0,
            cache_type="auto",
            requests_running=0.0,
            requests_waiting=0.0,
            null_blocks=1,
        ),
    )
    assert (reading.sequence_limit_tokens, reading.concurrent_sequences_limit) == (2048, 8)
    assert (reading.model.name, reading.model.path) == ("tiny-llama", "/models/llama")
    assert reading.sleep_level == 0
    assert {it.name: it.value for it in reading.stated} == {
        "kv-cache-dtype": "auto",
        "enable-prefix-caching": "true",
        "gpu-memory-utilization": "0.92",
        "kv-cache-memory-bytes": "67108864",
    }


def test_a_busy_server(recorded: Recorded) -> None:
    reading = read(recorded, "running")
    (pool,) = reading.pools
    # 60 of the 1023 usable blocks: one block of 1024 is the null block.
    assert pool.used_ratio == pytest.approx(60 / 1023)
    assert (pool.held_tokens, pool.usable_tokens) == (60 * 128, 1023 * 128)
    assert (pool.requests_running, pool.requests_waiting) == (8, 4)
    assert reading.counters == Counters(
        prompt_tokens_total=13104,
        generated_tokens_total=15377,
        requests_processing=8,
        requests_waiting=4,
        requests_waiting_for_memory=0,  # eight run, as many as may: the pool is nearly empty
        preemptions_total=0,
        prefix_query_tokens_total=13104,
        prefix_hit_tokens_total=9856,
        ended_requests_total=12,
        ended_generated_tokens_total=10800,
        first_token_seconds_total=21.34382700920105,
        first_token_requests_total=20,
    )


def test_preemptions_are_counted(recorded: Recorded) -> None:
    assert read(recorded, "tp2_fp8_after", "metrics").counters.preemptions_total == 12
    assert read(recorded, "tp2_fp8_running").pools[0].cache_type == "fp8"


def test_what_is_summed_over_data_parallel_engines_is_divided_again(recorded: Recorded) -> None:
    reading = read(recorded, "dp2_busy", "metrics")
    # Each engine logged 4,096 tokens and 4.00x; 28 of its 31 usable blocks were held.
    assert [pool.engine_index for pool in reading.pools] == [0, 1]
    for pool in reading.pools:
        assert (pool.block_count, pool.block_size_tokens, pool.capacity_tokens) == (32, 128, 4096)
        assert pool.max_concurrency == 4.0
        assert pool.used_ratio == pytest.approx(28 / 31)
    assert [pool.requests_waiting for pool in reading.pools] == [1, 0]
    assert (reading.counters.requests_processing, reading.counters.requests_waiting) == (8, 1)


def test_a_sum_that_engines_cannot_share_evenly_is_unknown(recorded: Recorded) -> None:
    reply = recorded("vllm/dp2_idle", "metrics")
    odd = replace(reply, body=reply.body.replace(b'num_gpu_blocks="64"', b'num_gpu_blocks="65"'))
    assert [pool.block_count for pool in vllm.read(known([odd])).pools] == [None, None]


def test_names_of_the_engine_before_v1(recorded: Recorded) -> None:
    reading = read(recorded, "v0", "metrics")
    (pool,) = reading.pools
    assert (pool.used_ratio, pool.block_count, pool.capacity_tokens) == (0.42, 573, 573 * 16)
    assert (pool.budget_bytes, pool.max_concurrency) == (None, None)
    counters = reading.counters
    assert (counters.preemptions_total, counters.requests_waiting, counters.prompt_tokens_total) == (3, 2, 73214)
    assert (counters.requests_waiting_for_memory, counters.prefix_hit_tokens_total) == (None, None)
    assert (reading.sleep_level, reading.model.name) == (None, "qwen3-32b")


def test_a_pool_of_several_groups_has_no_capacity_that_it_did_not_tell(recorded: Recorded) -> None:
    reply = recorded("vllm/idle", "metrics")
    older = replace(reply, body=reply.body.replace(b'kv_cache_size_tokens="131072",', b""))
    (pool,) = vllm.read(known([older])).pools
    assert (pool.block_count, pool.capacity_tokens) == (1024, None)


@pytest.mark.parametrize(
    ("state", "level", "hint"), [("weights_offloaded", 1, "in host memory"), ("discard_all", 2, "are dropped")]
)
def test_sleep(recorded: Recorded, state: str, level: int, hint: str) -> None:
    reply = recorded("vllm/idle", "metrics")
    lines = []
    for line in reply.body.decode().splitlines():
        if line.startswith("vllm:engine_sleep_state"):
            line = f"{line.rpartition(' ')[0]} {float(state in line)}"  # noqa: PLW2901  edited: a CPU cannot sleep
        lines.append(line)
    reading = vllm.read(known([replace(reply, body="\n".join(lines).encode())]))
    assert (reading.state, reading.sleep_level) == (ServerState.SLEEPING, level)
    assert hint in reading.hint


def test_a_locked_server_still_shows_its_pool(recorded: Recorded) -> None:
    reading = read(recorded, "locked")
    assert reading.state is ServerState.READY
    assert "KVTOP_API_KEY" in reading.hint
    assert (reading.pools[0].capacity_tokens, reading.sequence_limit_tokens) == (2048, None)
    assert reading.model.name == "tiny-qwen3"
    without = vllm.read(known([Reply("/metrics", 404), recorded("vllm/locked", "v1_models")]))
    assert without.state is ServerState.LOCKED


def test_a_server_that_does_not_listen_yet_is_loading() -> None:
    refused = [Reply("/metrics", None, error="connection refused")]
    assert vllm.read(replace(known(refused), is_listening=False)).state is ServerState.LOADING
    assert vllm.read(known(refused)).state is ServerState.UNREACHABLE


def test_a_dead_engine_is_an_error(recorded: Recorded) -> None:
    reading = vllm.read(known([recorded("vllm/idle", "metrics"), Reply("/health", 503)]))
    assert reading.state is ServerState.ERROR
    assert "restart" in reading.hint


def test_statistics_that_are_off_are_unknown_and_not_zero(recorded: Recorded) -> None:
    off = Reply("/metrics", 200, b"python_info 1.0\n")
    reading = vllm.read(known([off, recorded("vllm/idle", "v1_models"), recorded("vllm/running", "load")]))
    assert reading.state is ServerState.READY
    assert "--disable-log-stats" in reading.hint
    assert reading.pools == ()
    assert reading.counters == Counters(requests_processing=12)


@pytest.mark.parametrize(
    ("flags", "metrics", "paths"),
    [
        ((), "idle", ("/metrics", "/health", "/version", "/v1/models")),
        (("--enable-server-load-tracking",), "idle", ("/metrics", "/health", "/version", "/v1/models")),
        (("--enable-server-load-tracking",), None, ("/metrics", "/health", "/version", "/v1/models", "/load")),
        (("--enable-sleep-mode",), None, ("/metrics", "/health", "/version", "/v1/models", "/is_sleeping")),
    ],
)
def test_what_is_asked(recorded: Recorded, flags: tuple[str, ...], metrics: str | None, paths: tuple[str, ...]) -> None:
    options = vllm.launch([*ARGV, *flags], {}, [])
    assert vllm.wanted({}, options) == ("/metrics",)
    reply = Reply("/metrics", 200, b"") if metrics is None else recorded(f"vllm/{metrics}", "metrics")
    assert vllm.wanted({"/metrics": reply}, options) == paths


def test_nobody_is_asked_twice_at_a_closed_door() -> None:
    refused = {"/metrics": Reply("/metrics", None, error="connection refused")}
    assert vllm.wanted(refused, None) == ("/metrics",)


@pytest.mark.parametrize("folder", ["idle", "locked", "tp2_fp8"])
def test_a_url_is_recognised_by_its_answers(recorded: Recorded, folder: str) -> None:
    replies = {f"/{name.replace('_', '/')}": recorded(f"vllm/{folder}", name) for name in ("v1_models", "version")}
    assert engine_of_replies(replies) is vllm


def test_ranks_by_the_titles_of_processes(recorded: Recorded) -> None:
    processes = [
        ROOT,
        Process(11, 10, "python3", ("python3", "-c", "from multiprocessing.resource_tracker import main;main(32)")),
        title(12, "VLLM::EngineCore_DP1"),
        title(13, "VLLM::Worker_DP1_PP0_TP3_EP7"),
        title(14, "VLLM::Worker"),
        replace(title(17, "VLLM::Worker_TP0"), ppid=12),
        title(15, "VLLM::APIServer_0"),
        title(16, "VLLM::DPCoordinator"),
    ]
    reading = vllm.read(known([recorded("vllm/idle", "metrics")], processes))
    assert reading.ranks == (
        Rank(10, "api server"),
        Rank(12, "engine core", data_parallel_index=1),
        Rank(13, "worker", data_parallel_index=1, pipeline_parallel_index=0, tensor_parallel_index=3),
        Rank(14, "worker"),
        Rank(17, "worker", data_parallel_index=1, tensor_parallel_index=0),
        Rank(15, "api server"),
        Rank(16, "coordinator"),
    )
    assert reading.pids == (10, 11, 12, 13, 14, 17, 15, 16)


def test_the_endpoint_completes_what_was_left_to_the_engine(recorded: Recorded) -> None:
    launch = read(recorded, "idle").launch
    assert launch is not None
    limit = launch.get("max-model-len")
    assert limit is not None
    assert (limit.value, limit.origin) == ("2048", Origin.ENDPOINT)
    told = vllm.launch([*ARGV, "--max-model-len", "1024"], {}, [])
    kept = vllm.read(replace(known([recorded("vllm/idle", "v1_models")]), options=told)).launch
    assert kept is not None
    assert kept.value("max-model-len") == "1024"


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["vllm", "serve", "m"], True),
        (["/venv/bin/python3", "/venv/bin/vllm", "serve", "m"], True),
        (["python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "m"], True),
        (["python3", "-u", "-X", "utf8", "-m", "vllm.entrypoints.openai.api_server", "--model", "m"], True),
        (["python3", "-m", "vllm.entrypoints.cli.main", "serve", "m"], True),
        (["vllm", "bench", "serve"], False),
        (["VLLM::EngineCore"], False),
        (["python3", "-c", "import vllm"], False),
        (["python3", "-m"], False),
    ],
)
def test_recognition(argv: list[str], *, expected: bool) -> None:
    assert vllm.recognises("x", argv) is expected


def test_the_config_file_comes_before_the_command_line() -> None:
    argv = ["vllm", "serve", "--config", "c.yaml", "--port", "9000"]
    assert vllm.config_files(argv, {}) == ("c.yaml",)
    options = vllm.launch(argv, {}, [("c.yaml", "model: org/name\nport: 1\ntensor-parallel-size: 2\n")])
    assert (options.value("model"), options.value("port"), options.value("tensor-parallel-size")) == (
        "org/name",
        "9000",
        "2",
    )
    assert vllm.port_of(options) == 9000
    assert vllm.port_of(LaunchOptions("vllm")) == 8000
