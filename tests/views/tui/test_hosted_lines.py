"""Models of a server that holds several."""

from kvtop.domain.engine_report import HostedModel
from kvtop.domain.frame import KvCacheView, ServerView
from kvtop.domain.server import ModelFacts, ServerReading, ServerState
from kvtop.views.tui.screens.server.hosted import hosted_lines

GIB = 2**30


def shown(*hosted: HostedModel, expires_at: float | None = None) -> list[str]:
    model = ModelFacts("m", expires_at=expires_at)
    reading = ServerReading("s", "ollama", ServerState.READY, model=model, hosted=hosted or None)
    view = ServerView(reading, (), KvCacheView(None, None, "", None, None, None), None, "")
    lines = hosted_lines(view, 1000.0, 100)
    assert all(sum(len(piece.text) for piece in line) <= 100 for line in lines)
    return ["".join(piece.text for piece in line) for line in lines[1:]]


def test_each_model_with_what_is_known_of_it() -> None:
    full = HostedModel("llama3.2:3b", "loaded", "d", 4 * GIB, 3 * GIB, 8192, "Q4_K_M", 1240.0)
    proxied = HostedModel("qwen", "starting", url="http://localhost:9001")
    assert shown(full, proxied, HostedModel("x" * 200, expires_at=999.0)) == [
        "llama3.2:3b  loaded · Q4_K_M · 3.00 GiB of 4.00 GiB on devices · 8k tokens · unloads in 4m",
        "qwen  starting · http://localhost:9001",
        "x" * 99 + "…",
    ]


def test_a_model_that_will_leave_and_one_that_stays() -> None:
    assert shown(expires_at=1030.0) == ["unloads in 30s; each request puts it off"]
    assert shown(expires_at=990.0) == ["about to unload; each request puts it off"]
    assert shown() == []
