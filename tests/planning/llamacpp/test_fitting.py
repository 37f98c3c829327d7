"""What a plan says that `--fit` will do. In 1388 MiB, b11434 itself went from 32768 to 24320 cells."""

import pytest

from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.llamacpp.fit.fitting import with_fit_told
from kvtop.planning.llamacpp.model.prepared import prepare
from kvtop.planning.llamacpp.options.parse import parse_llama_server, settings_of
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from tests.oracle.cases import Oracle

MIB = 2**20


def _told(oracle: Oracle, name: str, room_mib: int | None, *words: str) -> list[str]:
    settings = settings_of(parse_llama_server(["-m", "x.gguf", *words], {}, []))
    assert isinstance(settings, LlamaSettings)
    size_bytes = None if room_mib is None else room_mib * MIB
    devices = (PlanDevice("gpu0", size_bytes if size_bytes is not None else 80 * 2**30),)
    model = prepare(oracle.headers[name])
    answer = plan(model, settings, devices)
    assert isinstance(answer, MemoryPlan)
    told = with_fit_told(answer, model, settings, devices, {"gpu0": size_bytes, "host": None}, None)
    return [warning for warning in told.warnings if warning.startswith("--fit")]


def test_the_context_that_the_engine_itself_chose(oracle: Oracle) -> None:
    (told,) = _told(oracle, "gemma-3-270m", 1388, "-np", "1")
    start = "--fit is on, and less than 1.00 GiB would stay free on gpu0: the engine will shrink the context to about "
    assert told.startswith(start)
    assert int(told.removeprefix(start).split()[0]) == pytest.approx(24320, abs=512)


def test_nothing_is_said_where_nothing_changes(oracle: Oracle) -> None:
    assert _told(oracle, "llama-3.1-8b", 48 * 1024) == []
    assert _told(oracle, "llama-3.1-8b", 8 * 1024, "-fit", "off") == []
    assert _told(oracle, "llama-3.1-8b", 8 * 1024, "-c", "32768", "-ngl", "99") == []


def test_what_the_engine_may_not_change_decides_what_it_will(oracle: Oracle) -> None:
    (layers,) = _told(oracle, "llama-3.1-8b", 8 * 1024, "-c", "32768")
    assert layers.endswith("the engine will leave layers, or the experts of a mixture, on the host")
    assert _told(oracle, "llama-3.1-8b", 8 * 1024, "-c", "0") == [layers]
    (both,) = _told(oracle, "llama-3.1-8b", 4 * 1024)
    assert both.endswith("shrink the context to about 4096 tokens and leave layers on the host")
    (streams,) = _told(oracle, "llama-3.1-8b", 4 * 1024, "-np", "2")
    assert streams.endswith("shrink the context to about 8192 tokens and leave layers on the host")
    (placed,) = _told(oracle, "llama-3.1-8b", 8 * 1024, "-ngl", "99")
    assert "shrink the context to about " in placed
    assert "layers" not in placed


def test_an_unknown_room_leaves_the_general_note(oracle: Oracle) -> None:
    (general,) = _told(oracle, "llama-3.1-8b", None)
    assert general.startswith("--fit is on: the engine may reduce")
