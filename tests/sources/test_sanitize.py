"""After the last door no text of a Sample holds a secret or drives a terminal, whichever reader forgot."""

from dataclasses import replace

from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.sample import Failure
from kvtop.sources.demo import SCENARIOS
from kvtop.sources.redaction.sanitize import sanitized

TOKEN = "hf_abcdefghij0123456789"


def test_whatever_a_reader_forgot_is_masked() -> None:
    sample = SCENARIOS[0].at(8.0)
    server = sample.servers[0]
    launch = LaunchOptions(
        "vllm",
        (
            LaunchOption("api-key", "canary", Origin.ARGV),
            LaunchOption("kv-transfer-config", '{"kv_connector": "x", "password": "canary"}', Origin.FILE),
            LaunchOption("hf-overrides", '{"rope_type": "yarn", "factor": 4, "note": "canary"}', Origin.ARGV),
            LaunchOption("override-tensor", "x=CPU," * 200, Origin.ARGV),
            LaunchOption("model", f"https://user:can@ry@host/{TOKEN}", Origin.ARGV, f"--model {TOKEN}"),
        ),
    )
    reading = replace(server, launch=launch, url="http://user:canary@host:1/", hint=f"\x1b[31m{TOKEN}")
    dirty = replace(
        sample,
        servers=(reading,),
        failures=(Failure(f"http://a:canary@b/{TOKEN}", f"Bearer canarycanary {TOKEN}", "\u202e"),),
        pending=("http://a:canary@b/",),
        host="box\x07",
    )
    clean = sanitized(dirty)
    shown = repr(replace(clean, models={}))
    assert "canary" not in shown
    assert "can@ry" not in shown
    assert TOKEN not in shown
    assert not {"\x1b", "\x07", "\u202e"} & set("".join((clean.host, clean.servers[0].hint, clean.failures[0].remedy)))
    options = clean.servers[0].launch
    assert options is not None
    assert options.value("hf-overrides") == '{"rope_type": "yarn", "factor": 4, "note": "***"}'
    assert options.value("override-tensor") == "x=CPU," * 200


def test_a_clean_sample_is_the_same_sample() -> None:
    for scenario in SCENARIOS:
        sample = scenario.at(8.0)
        assert sanitized(sample) == sample
        assert all(sanitized(sample).models[key] is model for key, model in sample.models.items())
