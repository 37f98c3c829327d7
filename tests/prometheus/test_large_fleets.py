"""A cluster of any size, a metrics server that fails in part, and the numbers that a fleet shows."""

import asyncio

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.sample import Sample
from kvtop.domain.server import ServerState
from kvtop.sources.fleet import Fleet, FleetOptions, take_fleet_sample
from kvtop.sources.fleet.grouping import grouped
from kvtop.sources.fleet.scrapes import ScrapeIntervals
from kvtop.sources.fleet.series import Series
from kvtop.sources.fleet.servers import lost_servers
from tests.prometheus.stand_in import Cluster, card_rows, cluster_of, standing_in, vllm_rows


def looked_at(cluster: Cluster) -> Sample:
    with standing_in(cluster) as url:
        return take_fleet_sample(FleetOptions(url))


def test_a_thousand_servers_with_three_thousand_cards_are_all_there() -> None:
    """A reply of more than 4 MiB emptied the screen, with exit code 0."""
    cluster = Cluster(cluster_of(1000))
    sample = looked_at(cluster)
    assert (len(sample.servers), len(sample.devices), sample.failures) == (1000, 3000, ())
    assert len(cluster.asked) <= 10
    assert sum(cluster.sent_bytes) < 1_500_000, "packed"


def test_the_work_grows_with_the_servers_and_not_with_their_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in labels that are looked at, which no load on the machine changes."""
    counts = []
    original = Series.label
    for servers in (50, 200):
        calls = 0

        def counting(self: Series, *names: str) -> str | None:
            nonlocal calls
            calls += 1
            return original(self, *names)

        monkeypatch.setattr(Series, "label", counting)
        looked_at(Cluster(cluster_of(servers)))
        counts.append(calls)
    assert counts[1] < 4.2 * counts[0]


@pytest.mark.parametrize("part", ["DCGM", "rate(", "timestamp(", "last_over_time(", "kvtop_device", "up"])
def test_a_question_that_is_refused_costs_its_column_alone(part: str) -> None:
    def fails(query: str) -> int | None:
        return 422 if (query == part if part == "up" else part in query) else None

    rows = [*vllm_rows("a"), *card_rows("n1", 0, "a")]
    sample = looked_at(Cluster(rows, fails))
    assert [it.id for it in sample.servers] == ["llm/a"]
    assert len(sample.devices) == (0 if part == "DCGM" else 1)
    (failure,) = sample.failures
    assert failure.message == "refused by the test"


def test_what_failed_is_kept_for_a_while() -> None:
    cluster = Cluster(cluster_of(3))

    async def twice(url: str) -> tuple[Sample, Sample]:
        fleet = Fleet(FleetOptions(url))
        first = await fleet.sample()
        cluster.fails = lambda query: 503 if "vllm" in query and "rate" not in query else None
        second = await fleet.sample()
        await fleet.aclose()
        return first, second

    with standing_in(cluster) as url:
        first, second = asyncio.run(twice(url))
    assert [it.id for it in second.servers] == [it.id for it in first.servers]
    assert second.failures


def test_a_partial_answer_is_told() -> None:
    sample = looked_at(Cluster(vllm_rows("a"), warnings=("store eu-2 is unavailable",)))
    assert [it.id for it in sample.servers] == ["llm/a"]
    assert [it.message for it in sample.failures] == ["a partial answer: store eu-2 is unavailable"]


def test_two_clusters_never_merge() -> None:
    rows = [*vllm_rows("vllm-0", 0.1, cluster="eu"), *vllm_rows("vllm-0", 0.99, cluster="us")]
    rows += [*card_rows("n1", 0, "vllm-0", cluster="eu"), *card_rows("n1", 0, "vllm-0", cluster="us")]
    sample = looked_at(Cluster(rows))
    assert [(it.id, it.pools[0].used_ratio) for it in sample.servers] == [
        ("eu/llm/vllm-0", 0.1),
        ("us/llm/vllm-0", 0.99),
    ]
    assert [it.id for it in sample.devices] == ["eu/n1:gpu0", "us/n1:gpu0"]
    assert all(len(it.pids) == 1 for it in sample.servers)
    assert sample.servers[0].pids != sample.servers[1].pids


@pytest.mark.parametrize("prefix", ["vllm:", "kserve_vllm:", "ray_vllm_", "vllm_"])
def test_vllm_is_known_under_the_names_that_others_give_its_metrics(prefix: str) -> None:
    sample = looked_at(Cluster(vllm_rows("a", prefix=prefix)))
    (server,) = sample.servers
    assert server.pools[0].capacity_tokens == 319984
    counters = server.counters
    assert (counters.preemptions_total, counters.requests_waiting_for_memory) == (3.0, 1.0)
    assert (counters.prefix_query_tokens_total, counters.prefix_hit_tokens_total) == (1e6, 5e5)


def test_tokens_per_second_are_those_of_the_metrics_server() -> None:
    """Differences of samples that are scraped every 30 s are 0 five times and then six times the truth."""
    cluster = Cluster(vllm_rows("a"), rates={"vllm:generation_tokens_total": 582.0, "vllm:prompt_tokens_total": 90.0})
    history = History()
    with standing_in(cluster) as url:
        for _ in range(2):
            (server,) = analyse(history, take_fleet_sample(FleetOptions(url)), "1").servers
            assert server.generated_tokens_per_second == 582.0


def test_a_replica_that_was_rolled_out_is_gone_and_not_lost() -> None:
    seen = [Series("vllm:cache_config_info", {"instance": name}, 1.0) for name in ("old:1", "down:1")]
    found = lost_servers(seen, [], {"down:1": "its target is down"}, {"down:1"})
    assert [(it.id, it.state) for it in found] == [("down:1", ServerState.UNREACHABLE)]
    assert len(lost_servers(seen, [], {})) == 2, "without a list of targets nobody knows"


def test_intervals_of_scrapes() -> None:
    scrapes = ScrapeIntervals()
    assert (scrapes.interval_seconds, scrapes.window_seconds, scrapes.stale_seconds) == (30.0, 120, 90.0)
    scrapes.note({"a": 100.0, "b": 100.0})
    scrapes.note({"a": 110.0, "b": 100.0})
    assert (scrapes.window_seconds, scrapes.stale_seconds) == (60, 90.0)
    scrapes.note({"a": 120.0, "b": 220.0})
    assert (scrapes.interval_seconds, scrapes.window_seconds, scrapes.stale_seconds) == (120.0, 480, 360.0)
    scrapes.note({"a": 99999.0})
    assert scrapes.interval_seconds == 120.0, "a target that was away is no slow one"


def test_series_are_grouped_once() -> None:
    rows = [Series("x", {"instance": name}, 1.0) for name in ("a", "b", "a")]
    found = grouped({"x": rows, "y": rows[:1]}, ("x",), lambda it: it.target)
    assert {owner: {name: len(it) for name, it in by.items()} for owner, by in found.items()} == {
        "a": {"x": 2},
        "b": {"x": 1},
    }
