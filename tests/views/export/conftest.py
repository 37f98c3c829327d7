"""A Frame in which every text from outside is an attack."""

from dataclasses import replace

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.frame import Fact, Finding, Frame
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.memory import Segment
from kvtop.domain.sample import Failure
from kvtop.domain.server import ModelFacts
from kvtop.sources.demo import SCENARIOS

ATTACK = (
    '=HYPERLINK("http://evil")</text><script>document.title="owned"</script><img src=x onerror=alert(1)> | `rm` '
    '[bold red] "} 1\nowned 1\n\x1b]0;owned\x07\x1b[31m\u202egnp.exe\u2066\u200b\ufeff\ud800 "quoted" \\ end'
)


@pytest.fixture
def attack() -> str:
    """The text that stands wherever the outside may write one."""
    return ATTACK


@pytest.fixture
def hostile_frame() -> Frame:
    """Second 8 of the first scenario with the attack, and a megabyte of it, wherever a text comes from outside."""
    history = History()
    frame = analyse(history, SCENARIOS[0].at(8.0), "1.2.3")
    server = frame.servers[0]
    launch = LaunchOptions("llama.cpp", (LaunchOption("model", ATTACK, Origin.ARGV, ATTACK),), (ATTACK,), (ATTACK,))
    reading = replace(
        server.reading,
        id=ATTACK,
        engine=ATTACK,
        version=ATTACK,
        url=ATTACK,
        hint=ATTACK,
        model=ModelFacts(ATTACK * 4000, ATTACK, ATTACK),
        launch=launch,
    )
    splits = tuple(
        replace(
            it,
            device_id=ATTACK,
            memory=it.memory.replaced({Segment.WEIGHTS: replace(it.memory[Segment.WEIGHTS], source=ATTACK)}),
            driver=replace(it.driver, source=ATTACK),
        )
        for it in server.splits
    )
    facts = (Fact("container", f"docker {ATTACK}", Origin.FILE),)
    finding = Finding(ATTACK, ATTACK, ATTACK, ATTACK, ATTACK, ATTACK, ATTACK)
    cache = replace(server.kv_cache, type_k=ATTACK, type_v=ATTACK, types_source=ATTACK)
    device = replace(
        frame.devices[0], device=replace(frame.devices[0].device, id=ATTACK, name=ATTACK, note=ATTACK, uuid=ATTACK)
    )
    return replace(
        frame,
        host=ATTACK,
        servers=(
            replace(
                server,
                reading=reading,
                splits=splits[:1],
                kv_cache=cache,
                plan_note=ATTACK,
                findings=(finding,),
                facts=facts,
            ),
        ),
        devices=(device,),
        failures=(Failure(ATTACK, ATTACK, ATTACK),),
    )
