"""What one key and one tick cost, counted: plans that are made again, files that are read, replies that are parsed."""

from collections import Counter
from pathlib import Path

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.analysis.planned import live_what_if
from kvtop.app import what_if_session
from kvtop.app.what_if_session import WhatIfSession
from kvtop.planning import what_if
from kvtop.sources.demo import SCENARIOS
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.engines import sglang_metrics, vllm_metrics

ASKED = 9
"""How often a drawn screen asks for the same answer: the page, and each key of the footer."""


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    counts: Counter[str] = Counter()

    def count(module: object, name: str) -> None:
        real = getattr(module, name)

        def called(*words: object, **named: object) -> object:
            counts[name] += 1
            return real(*words, **named)

        monkeypatch.setattr(module, name, called)

    count(what_if, "plan_launch")
    count(live_what_if, "plan_launch")
    count(what_if_session, "answer")
    count(what_if_session, "recommend")
    count(what_if_session, "read_own_evidence")
    count(vllm_metrics, "parse_metrics")
    count(sglang_metrics, "parse_metrics")
    return counts


@pytest.mark.parametrize("name", ["rtx4090_llamacpp", "h100x8_vllm_tp", "mac_mlx"])
def test_a_key_plans_what_it_turned_and_a_tick_without_news_nothing(name: str, counted: Counter[str]) -> None:
    scenario = next(it for it in SCENARIOS if it.name == name)
    history, session = History(), WhatIfSession({"XDG_DATA_HOME": "/nonexistent"})

    def tick(second: float) -> None:
        sample = scenario.at(second)
        session.note(sample, analyse(history, sample, "1"))

    def drawn() -> None:
        for _ in range(ASKED):
            session.ask(server_id)

    tick(7.0)
    tick(8.0)
    server_id = scenario.at(8.0).servers[0].id
    drawn()
    counted.clear()
    assert session.turn(server_id, "context", -1)
    drawn()
    assert counted == {"answer": 1, "plan_launch": 1}
    session.recommend(server_id)
    counted.clear()
    tick(8.0)
    drawn()
    session.recommend(server_id)
    assert counted == {}


def test_own_measurements_are_read_beside_the_keys_and_count_at_once(tmp_path: Path, counted: Counter[str]) -> None:
    scenario = next(it for it in SCENARIOS if it.name == "rtx4090_llamacpp")
    session = WhatIfSession({"XDG_DATA_HOME": str(tmp_path)})
    sample = scenario.at(8.0)
    session.note(sample, analyse(History(), sample, "1"))
    server_id = sample.servers[0].id
    assert counted["read_own_evidence"] == 1
    session.ask(server_id)
    session.recommend(server_id)
    session.note(sample, analyse(History(), sample, "1"))
    session.ask(server_id)
    assert counted["read_own_evidence"] == 1
    session.read_own()
    assert counted["read_own_evidence"] == 2


@pytest.mark.parametrize("servers", [8, 32, 300])
def test_each_reply_of_a_tick_is_parsed_once(servers: int, counted: Counter[str]) -> None:
    bodies = [f'vllm:num_requests_running{{model_name="m{index}"}} 1\n'.encode() for index in range(servers)]
    replies = [Reply("/metrics", 200, body) for body in bodies]
    for _ in range(3):  # members of an adapter ask one after the other, server by server
        for reply in replies:
            assert vllm_metrics.read_metrics(reply).has_engine
    assert counted["parse_metrics"] == servers
