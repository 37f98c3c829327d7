"""What `kvtop snapshot --json` prints, held against the schema that is published for it."""

import json

import jsonschema
import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.frame import Frame
from kvtop.sources.demo import SCENARIOS, Scenario
from kvtop.views.export.snapshot.as_json import snapshot, snapshot_text
from kvtop.views.export.snapshot.json_schema import snapshot_schema_text
from kvtop.views.export.snapshot.snapshot_types import SCHEMA

SEGMENTS = ("weights", "kv_cache", "recurrent_state", "compute", "runtime", "unattributed")


def _frame(scenario: Scenario, second: float) -> Frame:
    history = History()
    analyse(history, scenario.at(second - 1), "1.2.3")
    return analyse(history, scenario.at(second), "1.2.3")


@pytest.mark.parametrize("second", [1.0, 8.0, 900.0])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda it: it.name)
def test_every_scenario_obeys_the_published_schema(scenario: Scenario, second: float) -> None:
    schema = json.loads(snapshot_schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    document = json.loads(snapshot_text(_frame(scenario, second)))
    jsonschema.Draft202012Validator(schema).validate(document)
    assert document["schema"] == SCHEMA == schema["properties"]["schema"]["const"]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda it: it.name)
def test_segments_sum_to_driver_bytes(scenario: Scenario) -> None:
    document = json.loads(snapshot_text(_frame(scenario, 8.0)))
    splits = [split for server in document["servers"] for split in server["memory"]]
    assert bool(splits) == bool(document["servers"])
    for split in splits:
        assert tuple(split["segments"]) == SEGMENTS
        if split["driver_bytes"] is not None:
            parts = [split["segments"][name]["bytes"] for name in SEGMENTS]
            assert sum(size for size in parts if size is not None) == split["driver_bytes"]


def test_the_schema_refuses_a_document_that_lacks_a_field() -> None:
    document = json.loads(snapshot_text(_frame(SCENARIOS[0], 8.0)))
    del document["servers"][0]["memory"][0]["segments"]["weights"]
    with pytest.raises(jsonschema.ValidationError, match="weights"):
        jsonschema.Draft202012Validator(json.loads(snapshot_schema_text())).validate(document)


def test_the_schema_refuses_another_version() -> None:
    document = json.loads(snapshot_text(_frame(SCENARIOS[0], 8.0))) | {"schema": "kvtop.snapshot/2"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(json.loads(snapshot_schema_text())).validate(document)


def test_time_is_utc_and_version_is_given() -> None:
    document = snapshot(_frame(SCENARIOS[0], 8.0))
    assert document["taken_at"] == "2026-11-23T00:00:08.000+00:00"
    assert document["kvtop_version"] == "1.2.3"


def test_unknown_is_null_and_not_zero() -> None:
    locked = next(it for it in SCENARIOS if it.name == "locked_endpoint")
    (server,) = snapshot(_frame(locked, 8.0))["servers"]
    assert server["slots"] is None
    assert server["kv_cache"]["used_tokens"] is None
    assert server["kv_cache"]["used_ratio"] is None
    assert all(split["segments"]["kv_cache"]["used_bytes"] is None for split in server["memory"])


def test_the_outlook_of_a_server_and_the_origin_of_its_facts_are_in_it() -> None:
    filling = next(it for it in SCENARIOS if it.name == "filling_up")
    history = History()
    for second in range(90):
        frame = analyse(history, filling.at(float(second)), "1.2.3")
    vllm, llama = snapshot(frame)["servers"]
    assert llama["time_to_full"]["state"] == "growing"
    assert llama["time_to_full"]["cause"] == "slot 0"
    assert llama["time_to_full"]["tokens_left"] == llama["headroom"]["cache_tokens_left"]
    assert llama["verdict"]["concern"] == "bad"  # within the minute
    assert llama["verdict"]["seconds"] == llama["time_to_full"]["seconds"]
    assert vllm["time_to_full"]["cause"] == "the pool"
    assert vllm["time_to_full"]["ground"] == "answers"
    assert [it["device"] for it in vllm["headroom"]["devices"]] == ["gpu0"]
    assert [it["device"] for it in llama["calibration"]] == ["gpu0", "host"]
    origins = {it["name"]: it["origin"] for it in llama["facts"]}
    assert (origins["cache type K"], origins["ctx-size"], origins["memory on gpu0"]) == ("default", "argv", "driver")


def test_what_the_engine_says_of_pools_ranks_and_models_is_in_it() -> None:
    filling = next(it for it in SCENARIOS if it.name == "filling_up")
    vllm, llama = snapshot(_frame(filling, 8.0))["servers"]
    (pool,) = vllm["pools"]
    assert pool["capacity_tokens"]
    assert 0 < (pool["used_ratio"] or 0) <= 1
    assert (llama["pools"], llama["ranks"], llama["hosted"], llama["sleep_level"]) == ([], [], None, None)
    assert llama["requests"]["preemptions_total"] is None
    hosts = [snapshot(_frame(it, 8.0))["servers"] for it in SCENARIOS]
    hosted = [server["hosted"] for servers in hosts for server in servers if server["hosted"]]
    assert hosted
    assert all(model["name"] for models in hosted for model in models)
