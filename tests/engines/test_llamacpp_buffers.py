"""An independent check of the plan: what the real llama-server logs that it allocated, in eleven configurations."""

import shlex
from collections.abc import Callable

import pytest

from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.llamacpp.options.parse import parse_llama_server
from kvtop.planning.registry import plan_launch
from kvtop.sources.model_files.gguf import read_gguf
from tests.amounts import size_of
from tests.engines.conftest import MODEL, LlamaServer

CONFIGURATIONS = (
    "",
    "-c 4096",
    "-c 32768 -np 1",
    "-c 16384 -np 4 -no-kvu",
    "-c 10000 -np 3 -no-kvu -ctk q8_0 -ctv q8_0",
    "-c 8192 -np 2 --swa-full",
    "-c 8192 -ctk q4_0 -ctv q5_1 -fa on",
    "-c 8192 -fa off -ctk q8_0",
    "-c 8192 -ub 256 -b 1024 -ctk bf16 -ctv f32",
    "-c 8192 --override-kv gemma3.attention.sliding_window=int:1024",
    "-np 2 -fit on",
)


@pytest.mark.engines
@pytest.mark.parametrize("options", CONFIGURATIONS, ids=lambda text: text or "default")
def test_plan_equals_what_the_server_logs(options: str, llama_server: Callable[..., LlamaServer]) -> None:
    words = ["-fit", "off", *shlex.split(options)]
    server = llama_server(*words, "--no-warmup", verbose=True)
    answer = plan_launch(parse_llama_server(words, {}), read_gguf(MODEL), ())
    assert isinstance(answer, MemoryPlan)
    host = answer.device("host")
    assert host is not None
    assert host.memory.bytes_of(Segment.WEIGHTS) is not None
    assert host.memory.bytes_of(Segment.KV_CACHE) is not None
    # The log rounds every line to hundredths of a MiB; two caches and two weight buffers are two lines each.
    assert size_of(host, Segment.KV_CACHE) / 2**20 == pytest.approx(server.logged_mib("KV"), abs=0.011)
    assert size_of(host, Segment.OUTPUT) / 2**20 == pytest.approx(server.logged_mib("output"), abs=0.006)
