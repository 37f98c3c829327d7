"""What the answers of engines mean that never ran here: replies written after their sources, one folder a state."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from kvtop.domain.engine_report import HostedModel, PoolReport, Rank
from kvtop.domain.memory import Segment
from kvtop.domain.process import Process
from kvtop.domain.server import ServerReading, ServerState
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.engines import (
    engine_of_process,
    engine_of_replies,
    koboldcpp,
    llama_swap,
    llamacpp,
    llamafile,
    lm_studio,
    ollama,
    sglang,
    tensorrt_llm,
    tgi,
    triton,
)
from tests.amounts import rank_report

FIXTURES = Path(__file__).parents[2] / "fixtures"
GIB = 2**30
Recorded = Callable[[str, str], Reply]


def folder(recorded: Recorded, name: str) -> dict[str, Reply]:
    replies = [recorded(name, path.stem) for path in sorted((FIXTURES / name).glob("*.http"))]
    return {reply.path: reply for reply in replies}


def read(recorded: Recorded, engine: ModuleType, name: str, *argv: str, **known: bool) -> ServerReading:
    options = engine.launch(argv, {}, []) if argv else None
    processes = (Process(7, 1, "x", argv),) if argv else ()
    offered = folder(recorded, name)
    replies: dict[str, Reply] = {}
    while due := [path for path in engine.wanted(replies, options) if path not in replies]:
        for path in due:
            replies[path] = offered.get(path) or Reply(path, 404)
    reading: ServerReading = engine.read(ServerInputs("s", "http://h:1", replies, options, processes, **known))  # type: ignore[arg-type]
    assert "canary" not in repr(reading)
    return reading


def test_sglang_tells_its_memory(recorded: Recorded) -> None:
    reading = read(recorded, sglang, "sglang/idle")
    assert (reading.state, reading.version, reading.model.path) == (ServerState.READY, "0.5.23", "Qwen/Qwen3-8B")
    assert reading.memory_reports == (
        rank_report(
            engine_index=0,
            weights=round(15.27 * GIB),
            kv_cache=60 * GIB,
            compute=round(1.62 * GIB),
            rounding_bytes=GIB // 100,
            source="/server_info internal_states[0].memory_usage, of its first rank",
        ),
    )
    assert reading.pools == (
        PoolReport(capacity_tokens=436876, block_count=436876, block_size_tokens=1, cache_type="fp8_e4m3"),
    )
    assert (reading.sequence_limit_tokens, reading.concurrent_sequences_limit) == (40960, 4096)
    assert reading.launch is not None
    assert (reading.launch.value("tp-size"), reading.launch.value("quantization")) == ("2", None)


def test_sglang_with_metrics_and_two_engines(recorded: Recorded) -> None:
    reading = read(recorded, sglang, "sglang/busy", "python3", "-m", "sglang.launch_server", "--tp", "2")
    assert [(pool.used_ratio, pool.used_tokens, pool.requests_running) for pool in reading.pools] == [
        (0.28, 123859, 162),
        (0.5, 218438, 10),
    ]
    assert [report.memory.bytes_of(Segment.COMPUTE) for report in reading.memory_reports] == [
        round(1.12 * GIB) + GIB // 2
    ] * 2
    counters = reading.counters
    assert (counters.requests_processing, counters.requests_waiting, counters.preemptions_total) == (172, 26, 2)
    assert (counters.prefix_hit_tokens_total, counters.prefix_query_tokens_total) == (2048, 7321)


def test_sglang_of_older_versions_and_behind_a_key(recorded: Recorded) -> None:
    old = read(recorded, sglang, "sglang/old")
    assert (old.state, old.version) == (ServerState.READY, "0.4.6")
    assert (
        old.memory_reports[0].memory.bytes_of(Segment.WEIGHTS),
        old.memory_reports[0].memory.bytes_of(Segment.COMPUTE),
    ) == (None, None)
    locked = read(recorded, sglang, "sglang/locked")
    assert (locked.state, locked.pools, locked.memory_reports) == (ServerState.LOCKED, (), ())


def test_sglang_ranks() -> None:
    titles = ("sglang::scheduler_DP1_TP3", "sglang::detokenizer", "sglang::data_parallel_controller", "bash")
    ranks = [sglang.rank_of(Process(9, 1, title[:15], (f"{title}   ",))) for title in titles]
    assert ranks == [
        Rank(9, "scheduler", 1, None, 3),
        Rank(9, "detokenizer"),
        Rank(9, "data parallel controller"),
        None,
    ]


def test_ollama_names_its_models_and_when_they_leave(recorded: Recorded) -> None:
    reading = read(recorded, ollama, "ollama/loaded", "/usr/bin/ollama", "serve")
    assert (reading.state, reading.version) == (ServerState.READY, "0.33.0")
    assert reading.hosted == (
        HostedModel(
            name="llama3.2:3b",
            state="loaded",
            digest="a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72",
            size_bytes=4010000000,
            device_bytes=3010000000,
            context_tokens=8192,
            quantization="Q4_K_M",
            expires_at=1795512612.0,
        ),
        HostedModel(
            name="qwen3:8b",
            state="loaded",
            digest="a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72",
            size_bytes=5200000000,
            device_bytes=5200000000,
            quantization="Q4_K_M",
        ),
    )
    assert read(recorded, ollama, "ollama/idle").hosted == ()


def test_ollamas_older_runners_are_told(recorded: Recorded) -> None:
    processes = (
        Process(10, 1, "ollama", ("/usr/bin/ollama", "serve")),
        Process(11, 10, "ollama", ("/usr/bin/ollama", "runner", "--ollama-engine", "--port", "40001")),
        Process(12, 10, "ollama_llama_se", ("/tmp/ollama_llama_server", "--ctx-size", "8192")),
        Process(13, 10, "sh", ("sh",)),
    )
    reading = ollama.read(ServerInputs("s", "http://h:1", folder(recorded, "ollama/loaded"), None, processes))
    assert reading.ranks == (Rank(11, "runner"), Rank(12, "runner"))


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("", 11434),
        ("0.0.0.0", 11434),
        ("127.0.0.1:1234", 1234),
        ("[::1]:1234", 1234),
        ("[::]", 11434),
        ("http://10.0.0.1:99/ollama", 99),
        ("https://ollama.example", 443),
        ("http://ollama.example", 80),
        (":8000", 8000),
        ("host:x", 11434),
    ],
)
def test_where_ollama_listens(host: str, port: int) -> None:
    assert ollama.port_of(ollama.launch(["ollama", "serve"], {"OLLAMA_HOST": host}, [])) == port


def test_ollama_variables_are_options() -> None:
    options = ollama.launch(["ollama", "serve"], {"OLLAMA_KV_CACHE_TYPE": '"q8_0"', "OLLAMA_API_KEY": "canary"}, [])
    assert options.value("kv-cache-type") == "q8_0"
    assert "canary" not in repr(options)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-24T10:30:12Z", 1795516212.0),
        ("2026-11-24T10:30:12.5+00:00", 1795516212.0),
        ("0001-01-01T00:00:00Z", None),
        ("2318-03-06T04:14:00Z", None),
        ("soon", None),
        (7, None),
    ],
)
def test_dates_as_go_writes_them(value: object, expected: float | None) -> None:
    assert ollama.expiry(value) == expected


def test_llama_swap_is_a_proxy(recorded: Recorded) -> None:
    reading = read(recorded, llama_swap, "llama_swap/running", "llama-swap", "--listen", ":8090")
    assert reading.hosted == (
        HostedModel("qwen", "ready", url="http://localhost:9001"),
        HostedModel("glm", "starting", url="http://localhost:9002"),
    )
    assert "proxy" in reading.hint
    assert read(recorded, llama_swap, "llama_swap/idle").hosted == ()
    locked = read(recorded, llama_swap, "llama_swap/locked")
    assert (locked.state, locked.hosted) == (ServerState.LOCKED, None)
    assert llama_swap.port_of(llama_swap.launch(["llama-swap", "--listen", "0.0.0.0:8090"], {}, [])) == 8090


def test_lm_studio_lists_what_is_loaded(recorded: Recorded) -> None:
    model = HostedModel("qwen/qwen3-8b", "loaded", None, 5027783872, None, 8192, "Q4_K_M")
    assert read(recorded, lm_studio, "lm_studio/loaded").hosted == (model,)
    assert read(recorded, lm_studio, "lm_studio/idle").hosted == ()
    older = HostedModel("qwen3-8b", "loaded", context_tokens=4096, quantization="Q4_K_M")
    assert read(recorded, lm_studio, "lm_studio/old").hosted == (older,)
    refused = {"/api/v1/models": Reply("/api/v1/models", None, error="connection refused")}
    off = lm_studio.read(
        ServerInputs("s", "http://h:1", refused, None, (Process(1, 1, "lm-studio", ("lm-studio",)),), "", False)
    )
    assert (off.state, "--url" in off.hint) == (ServerState.UNREACHABLE, True)


def test_koboldcpp(recorded: Recorded) -> None:
    argv = ("python3", "koboldcpp.py", "--model", "/m/q.gguf", "--quantkv", "1", "--password", "canary")
    reading = read(recorded, koboldcpp, "koboldcpp/ready", *argv)
    assert (reading.state, reading.version, reading.sequence_limit_tokens) == (ServerState.READY, "1.76", 8192)
    assert (reading.model.name, reading.model.path) == ("koboldcpp/Qwen3-8B-Q4_K_M", "/m/q.gguf")
    settings = '{"model_param": "/m/x.gguf", "contextsize": 4096, "password": "canary", "flashattention": true}'
    options = koboldcpp.launch(["koboldcpp", "--config", "a.kcpps"], {}, [("a.kcpps", settings)])
    assert koboldcpp.config_files(["koboldcpp", "--config", "a.kcpps"], {}) == ("a.kcpps",)
    assert (options.value("model"), options.value("contextsize"), options.value("flashattention")) == (
        "/m/x.gguf",
        "4096",
        "true",
    )
    assert "canary" not in repr(options)


def test_tgi(recorded: Recorded) -> None:
    reading = read(recorded, tgi, "tgi/busy", "text-generation-launcher", "--model-id", "m")
    (pool,) = reading.pools
    assert (pool.capacity_tokens, pool.used_ratio) == (163840, None)
    assert (reading.counters.requests_processing, reading.counters.requests_waiting) == (5, 3)
    assert read(recorded, tgi, "tgi/loading").state is ServerState.LOADING


def test_tensorrt_llm(recorded: Recorded) -> None:
    argv = ("python3", "/usr/local/bin/trtllm-serve", "serve", "Qwen/Qwen3-8B", "--tp_size", "2")
    reading = read(recorded, tensorrt_llm, "tensorrt_llm/busy", *argv)
    (pool,) = reading.pools
    assert (pool.capacity_tokens, pool.block_count, pool.used_ratio) == (131072, 4096, 0.62)
    assert reading.launch is not None
    assert (reading.launch.value("model"), reading.launch.value("tp-size")) == ("Qwen/Qwen3-8B", "2")
    assert "/metrics" not in tensorrt_llm.PATHS


def test_triton(recorded: Recorded) -> None:
    reading = read(recorded, triton, "triton/busy", "tritonserver", "--metrics-port=9002")
    (pool,) = reading.pools
    assert pool.capacity_tokens == 6239 * 64
    assert pool.used_ratio == pytest.approx(624 / 6239)
    assert (reading.counters.requests_processing, reading.counters.requests_waiting) == (9, 4)
    assert triton.port_of(triton.launch(["tritonserver", "--metrics-port=9002"], {}, [])) == 9002


def test_ik_llama_is_told_by_its_header_and_not_planned(recorded: Recorded) -> None:
    props = recorded("llamacpp/default", "props")
    reply = Reply(props.path, 200, props.body, server="ik_llama.cpp")
    options = llamacpp.launch(["llama-server", "-m", "m", "-ctk", "q8_KV"], {}, [])
    assert options.errors
    reading = llamacpp.read(ServerInputs("s", "http://h:1", {"/props": reply}, options))
    assert (reading.engine, reading.slot_count) == ("ik_llama.cpp", 4)
    assert reading.launch is not None
    assert (reading.launch.engine, reading.launch.errors) == ("ik_llama.cpp", ())
    assert engine_of_replies({"/props": reply}) is llamacpp


def test_llamafile_answers_as_llama_cpp(recorded: Recorded) -> None:
    options = llamafile.launch(["./m.llamafile", "--server", "-c", "4096"], {}, [])
    props = recorded("llamacpp/default", "props")
    reading = llamafile.read(ServerInputs("s", "http://h:1", {"/props": props}, options))
    assert (reading.engine, reading.slot_count) == ("llamafile", 4)
    assert reading.launch is options


@pytest.mark.parametrize(
    ("argv", "engine"),
    [
        ("python3 -m sglang.launch_server --model-path m", sglang),
        ("/venv/bin/python /venv/bin/sglang serve m", sglang),
        ("sglang::scheduler_TP0", None),
        ("/usr/local/bin/ollama serve", ollama),
        ("/Applications/Ollama.app/Contents/Resources/ollama serve", ollama),
        ("ollama runner --model x --port 1", None),
        ("ollama run llama3", None),
        ("/opt/llama-swap --config c.yaml", llama_swap),
        ("llama-swap-linux-amd64", llama_swap),
        ("/opt/lm-studio/lm-studio", lm_studio),
        ("/opt/lm-studio/lm-studio --type=renderer", None),
        ("./koboldcpp-linux-x64 --model m", koboldcpp),
        ("python3 koboldcpp.py --model m", koboldcpp),
        ("/usr/bin/ape ./m.llamafile --server", llamafile),
        ("text-generation-launcher --model-id m", tgi),
        ("/usr/bin/python3 /usr/local/bin/trtllm-serve m", tensorrt_llm),
        ("tritonserver --model-repository=/m", triton),
        ("tail -f ollama.log", None),
        ("less koboldcpp.py", None),
    ],
)
def test_processes_are_recognised(argv: str, engine: ModuleType | None) -> None:
    found = engine_of_process("x", argv.split())
    assert found is engine


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("sglang/idle", sglang),
        ("ollama/loaded", ollama),
        ("llama_swap/running", llama_swap),
        ("lm_studio/loaded", lm_studio),
        ("koboldcpp/ready", koboldcpp),
        ("tgi/busy", tgi),
        ("tensorrt_llm/busy", tensorrt_llm),
    ],
)
def test_a_url_is_recognised_by_its_answers(recorded: Recorded, name: str, engine: ModuleType) -> None:
    known = {
        path: reply for path, reply in folder(recorded, name).items() if path in {"/v1/models", "/api/ps", "/info"}
    }
    assert engine_of_replies(known) is engine
