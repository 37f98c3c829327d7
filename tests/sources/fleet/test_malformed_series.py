"""A metrics server of anybody: whatever numbers and labels its series hold, a cluster is read, explained and kept."""

import json
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.sample import Failure, Sample
from kvtop.sources.demo import SCENARIOS
from kvtop.sources.endpoints.prometheus_text import parse_metrics
from kvtop.sources.fleet import servers
from kvtop.sources.fleet.cards import SyntheticPids, dcgm_cards, deduplicate, kvtop_cards
from kvtop.sources.fleet.series import Series, by_name, finite
from kvtop.sources.recordings.encoding import decode_tick, encode_tick
from kvtop.views.export.metrics.exposition import text_format
from kvtop.views.export.metrics.families import families
from kvtop.views.export.snapshot.formats import FORMATS, render

POD = {"pod": "vllm-0", "namespace": "llm"}
ENGINE = {"engine": "0", "instance": "a:8000", "model_name": "m", **POD}
CARD = {"gpu": "0", "Hostname": "n1", "UUID": "GPU-0", "modelName": "NVIDIA H100 80GB HBM3", **POD}
CACHE = {"block_size": "16", "cache_dtype": "auto", "num_gpu_blocks": "27000", **ENGINE}
USED, RUNNING, WAITING = ("vllm:kv_cache_usage_perc", "vllm:num_requests_running", "vllm:num_requests_waiting")
CLUSTER = [
    Series("vllm:cache_config_info", CACHE, 1.0),
    *(Series(name, ENGINE, 0.5) for name in (USED, RUNNING, WAITING, "vllm:prompt_tokens_total")),
    *(
        Series(f"DCGM_FI_DEV_FB_{name}", CARD, size)
        for name, size in (("USED", 70e3), ("FREE", 11e3), ("RESERVED", 500.0))
    ),
]
NUMBERS = (float("nan"), float("inf"), float("-inf"), -1.0, 0.0, 1e300, 1e19, 2.0**63, 1e18, 0.5, -1e300)
WORDS = ("NaN", "+Inf", "9" * 5000, "", "²", "1e400", "-1", "None", "9223372036854775807", "\x1b[31m")


def exported(name: str) -> list[Series]:
    """What a kvtop exporter on the host of this scenario says."""
    host = next(it for it in SCENARIOS if it.name == name)
    text = text_format(families(analyse(History(), host.at(8.0), "1")))
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    own = {"instance": f"{name}:9941", "job": "kvtop"}
    return [Series(it.name, {**dict(it.labels), **own}, it.value) for it in parse_metrics(text, names)]


def unexpected(source: str, error: BaseException, doing: str) -> Failure:
    """A fault in the analysis is one here too, and not a line on Sources."""
    del source, doing
    raise error


@pytest.mark.parametrize("name", ["rtx4090_llamacpp", "mixed_host", "mig_slices"])
@settings(max_examples=15)
@given(seed=integers(0, 2**32))
def test_every_series_is_read_and_can_be_kept(name: str, seed: int) -> None:
    random, rows = Random(seed), [*exported(name), *CLUSTER]
    for _ in range(random.choice((1, 3, 20))):
        at = random.randrange(len(rows))
        it = rows[at]
        if random.random() < 0.6:
            rows[at] = replace(it, value=random.choice(NUMBERS))
        elif random.random() < 0.2:
            rows.pop(at)
        else:
            rows[at] = replace(it, labels={**it.labels, random.choice(sorted(it.labels)): random.choice(WORDS)})
    found, pids = by_name(rows), SyntheticPids()
    devices = deduplicate(kvtop_cards(found, 1e9, pids, {}), dcgm_cards(found, 1e9, pids, {}))
    ours, theirs = servers.kvtop_servers(finite(found), pids), servers.vllm_servers(finite(found), devices, pids)
    readings = servers.with_age(servers.deduplicate(ours, theirs), found, 1e9, {})
    sample = Sample(1e9, "cluster", devices=tuple(devices), servers=tuple(readings))
    again = decode_tick(encode_tick(sample, {}), {}, "x")
    assert [it.id for it in again.servers] == [it.id for it in readings]
    frame = analyse(History(report=unexpected), sample, "1")
    for form in FORMATS:
        said = render(frame, form)
        if form == "json":
            json.loads(said, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
