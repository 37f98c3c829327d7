"""What holds of every engine module: named paths only, harmless ones, and readers that nothing can break."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.server import ServerState
from kvtop.sources.endpoints.engine import Engine, ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.engines import ENGINES, engine_of_process, unidentified

ALL: tuple[Engine, ...] = (*ENGINES, unidentified)
DANGEROUS = re.compile(
    r"(?i)(^|[/_-])(unload|upstream|sleep|wake|shutdown|stop|exit|quit|kill|flush|reset|release|pause|resume|abort|rpc"
    r"|generate|completions?|chat|embeddings?|tokenize|pull|push|delete|copy|create|start|profile|update|slots/\d"
    r"|save|restore|erase|logs?|captures?|api_?keys?)($|[/_?-])"
)
"""Words of paths that load, wake, stop or change something, run a model, or tell what people wrote."""

FIELDS = (
    *("data", "models", "meta", "id", "name", "model", "size", "root", "object", "owned_by", "version", "status"),
    *("max_model_len", "internal_states", "memory_usage", "weight", "kvcache", "token_capacity", "running", "state"),
    *("details", "expires_at", "loaded_instances", "config", "vllm_config", "cache_config", "is_sleeping", "result"),
    *("default_generation_settings", "n_ctx", "total_slots", "role", "model_path", "server_load", "context_length"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=12,
)
METRIC_NAMES = (
    *("vllm:cache_config_info", "vllm:kv_cache_usage_perc", "vllm:num_requests_running", "vllm:engine_sleep_state"),
    *("sglang:token_usage", "sglang:max_total_num_tokens", "llamacpp:prompt_tokens_total", "tgi_batch_current_size"),
)
LABELS = st.dictionaries(
    st.sampled_from(["engine", "num_gpu_blocks", "block_size", "dp_rank", "kv_cache_size_tokens", "reason"]),
    st.sampled_from(["0", "1", "None", "-3", "1e400", "x", "", "18446744073709551616"]),
    max_size=3,
)


def exposition(rows: list[tuple[str, dict[str, str], str]]) -> bytes:
    lines = []
    for name, labels, number in rows:
        inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
        lines.append(f"{name}{{{inside}}} {number}")
    return "\n".join(lines).encode()


METRICS = st.lists(
    st.tuples(st.sampled_from(METRIC_NAMES), LABELS, st.sampled_from(["0", "1", "NaN", "+Inf", "-1", "0.5", "x"])),
    max_size=6,
).map(exposition)
BODIES = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()) | METRICS


EACH = pytest.mark.parametrize("engine", [pytest.param(engine, id=engine.NAME) for engine in ALL])


@EACH
def test_no_path_does_anything(engine: Engine) -> None:
    assert engine.PATHS
    for path in engine.PATHS:
        assert path.startswith("/")
        assert DANGEROUS.search(path) is None, path
    assert set(engine.SELDOM_SECONDS) <= set(engine.PATHS)


@pytest.mark.parametrize(
    "path", ["/unload", "/upstream/x/health", "/api/pull", "/v1/completions", "/slots/0", "/wake_up", "/sleep?level=1"]
)
def test_the_list_of_dangerous_words_holds(path: str) -> None:
    assert DANGEROUS.search(path) is not None


@EACH
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_is_answered_only_named_paths_are_asked_and_the_reader_holds(
    engine: Engine, data: st.DataObject
) -> None:
    options = data.draw(st.sampled_from([None, LaunchOptions(engine.NAME), engine.launch(["x"], {}, [])]))
    replies: dict[str, Reply] = {}
    for _ in range(2 * len(engine.PATHS)):
        asked = engine.wanted(replies, options)
        assert set(asked) <= set(engine.PATHS)
        due = [path for path in asked if path not in replies]
        if not due:
            break
        for path in due:
            status = data.draw(st.sampled_from([200, 200, 401, 404, 500, 503, None]))
            replies[path] = Reply(path, status, data.draw(BODIES) if status else b"")
    else:
        pytest.fail("it never stops asking")
    engine.answers(replies)
    reading = engine.read(ServerInputs("s", "http://127.0.0.1:1", replies, options))
    assert reading.is_remote
    for pool in reading.pools:
        assert pool.used_ratio is None or 0 <= pool.used_ratio <= 1
        assert pool.block_count is None or pool.block_count >= 0


@EACH
def test_unasked_is_unknown_and_silent_is_unreachable(engine: Engine) -> None:
    assert engine.read(ServerInputs("s", "http://127.0.0.1:1", {})).state is ServerState.UNKNOWN
    silent = {path: Reply(path, None, error="connection refused") for path in engine.wanted({}, None)}
    reading = engine.read(ServerInputs("s", "http://127.0.0.1:1", silent))
    assert reading.state is ServerState.UNREACHABLE
    assert "connection refused" in reading.hint


@pytest.mark.parametrize("argv", [["bash"], ["vim", "vllm"], ["python3", "manage.py", "serve"], [""], []])
def test_other_programs_are_nobodys(argv: list[str]) -> None:
    assert engine_of_process("x", argv) is None
