"""Names go, figures stay, and the same name gets the same pseudonym everywhere."""

import re
from dataclasses import replace

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.analysis.anonymize import Pseudonyms
from kvtop.domain.engine_report import HostedModel
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.model_file import GgufHeader
from kvtop.domain.process import Container
from kvtop.domain.sample import Failure, Sample
from kvtop.sources.demo import SCENARIOS, Scenario


def personal_sample() -> Sample:
    sample = SCENARIOS[0].at(8.0)
    server, process = sample.servers[0], sample.processes[0]
    path = "/home/alice/acme/SecretModel-7B-Q4_K_M.gguf"
    launch = LaunchOptions(
        "llama.cpp",
        (
            LaunchOption("model", path, Origin.ARGV, f"-m {path}"),
            LaunchOption("alias", "AcmeBot", Origin.ARGV, "--alias"),
            LaunchOption("ctx-size", "32768", Origin.ARGV, "-c"),
        ),
    )
    reading = replace(
        server,
        id="gpubox.acme.example:8080",
        url="http://gpubox.acme.example:8080",
        model=replace(server.model, name="AcmeBot", path=path),
        launch=launch,
        model_key=path,
    )
    owned = replace(
        process,
        user="alice",
        container=Container("docker", "ac3e" * 16, "acme-prod-7"),
        cwd="/home/alice/acme",
        argv=("/home/alice/bin/llama-server", "-m", path, "--host", "10.1.2.3"),
        environ=(("HOME", "/home/alice"), ("LLAMA_ARG_ALIAS", "AcmeBot")),
        unreadable=("environ of alice",),
    )
    model = next(iter(sample.models.values()))
    assert isinstance(model, GgufHeader)
    metadata = {**model.metadata, "general.name": "SecretModel", "general.organization": "Acme"}
    named = replace(model, path=path, metadata=metadata)
    return replace(
        sample,
        host="alices-desk",
        servers=(reading,),
        processes=(owned,),
        models={path: named},
        failures=(Failure("http://10.1.2.3:1/slots", f"{path}: permission denied for alice on alices-desk"),),
    )


def test_names_go_and_figures_stay() -> None:
    sample = personal_sample()
    names = Pseudonyms()
    hidden = names.anonymised(sample)
    shown = repr(replace(hidden, models={})) + repr([(key, it.path, it.notes) for key, it in hidden.models.items()])
    shown += repr([it.metadata for it in hidden.models.values() if isinstance(it, GgufHeader)])
    for word in ("alice", "acme", "Acme", "SecretModel", "10.1.2.3", "gpubox", "GPU-5a3c", "ac3e"):
        assert word not in shown, word
    before, after = (analyse(History(), it, "1").servers[0] for it in (sample, hidden))
    assert after.splits == before.splits
    assert after.kv_cache == before.kv_cache
    assert after.reading.slots == before.reading.slots
    assert after.reading.launch is not None
    assert after.reading.launch.value("ctx-size") == "32768"


def test_the_same_name_is_the_same_pseudonym_everywhere() -> None:
    names = Pseudonyms()
    hidden = names.anonymised(personal_sample())
    server, process = hidden.servers[0], hidden.processes[0]
    assert server.model.name == server.model.path == server.model_key == next(iter(hidden.models))
    assert process.argv is not None
    assert server.model.path in process.argv
    assert server.id.partition(":")[0] in (server.url or "")
    assert hidden.failures[0].message == f"{server.model.path}: permission denied for {process.user} on {hidden.host}"
    assert names.anonymised(personal_sample()) == hidden


def test_a_short_name_does_not_eat_flags_or_words() -> None:
    sample = personal_sample()
    process = replace(sample.processes[0], user="m", argv=("llama-server", "-m", "am/m/ma", "--m"))
    hidden = Pseudonyms().anonymised(replace(sample, processes=(process,)))
    assert hidden.processes[0].argv == ("llama-server", "-m", "am/user-1/ma", "--m")


def test_the_models_of_a_server_of_several_are_renamed_too() -> None:
    sample = personal_sample()
    hosted = HostedModel("acme/secret-bot:7b", "loaded", digest="d1" * 32, size_bytes=7, url="http://acme-box:9001")
    again = replace(sample.servers[0], id="x", hosted=(hosted,), hint="acme/secret-bot:7b is loaded on acme-box")
    (server,) = Pseudonyms().anonymised(replace(sample, servers=(again,))).servers
    assert server.hosted is not None
    assert (server.hosted[0].size_bytes, server.hosted[0].state) == (7, "loaded")
    for secret in ("acme", "secret", "d1d1"):
        assert secret not in repr(server.hosted) + server.hint


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda it: it.name)
def test_no_scenario_keeps_a_name(scenario: Scenario) -> None:
    sample = scenario.at(8.0)
    names = {sample.host}
    names |= {it.user for it in sample.processes if it.user and it.user != "root"}
    for process in sample.processes:
        if process.container is not None:
            names |= {process.container.id, process.container.name or process.container.id}
        names |= set(process.addresses)
    for reading in sample.servers:
        names |= {it.name for it in reading.hosted or ()}
        for name in (reading.model.name, reading.model.path):
            if name and name != "none":
                names |= {name, name.rstrip("/").rsplit("/", 1)[-1]}
    names |= {it.uuid for it in sample.devices if it.uuid}
    hidden = Pseudonyms().anonymised(sample)
    shown = repr(replace(hidden, models={})) + " ".join((*hidden.models, *(it.path for it in hidden.models.values())))
    kept = {name for name in names if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", shown)}
    assert kept == set()
    before, after = (analyse(History(), it, "1") for it in (sample, hidden))
    for one, other in zip(before.servers, after.servers, strict=True):
        assert [split.memory.parts for split in one.splits] == [split.memory.parts for split in other.splits]


def test_a_model_stays_one_object_for_all_ticks() -> None:
    names = Pseudonyms()
    first, *later = (names.anonymised(SCENARIOS[0].at(float(second))) for second in range(4))
    for sample in later:
        assert all(sample.models[key] is first.models[key] for key in first.models)
