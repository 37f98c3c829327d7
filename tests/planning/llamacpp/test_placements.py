"""Models that are larger than the cards: what recommend puts on the host, loaded as its own command says."""

import shlex
from dataclasses import replace
from functools import lru_cache

import pytest

from kvtop.analysis.recommending import RecommendRequest, recommend
from kvtop.domain.answers.recommendation import Recommendation, Recommendations, Requirements
from kvtop.domain.answers.room import Fit, Room, room_of
from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.gpus.reserve import as_seen
from kvtop.planning.gpus.specs import parse_gpu_specs
from kvtop.planning.llamacpp.fit.outcome import FitSurroundings, Loaded, loaded
from kvtop.planning.llamacpp.memory.prepared import PreparedModel, prepare
from kvtop.planning.llamacpp.options.parse import parse_llama_server, settings_of
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.protocol.plan_context import PlanContext
from kvtop.planning.registry import plan_launch
from tests.decode.measurements import with_mxfp4_experts
from tests.models.rule_models import gguf_models

GIB = 2**30


@lru_cache(maxsize=4)
def model_of(name: str) -> PreparedModel:
    header = gguf_models()[name]
    return prepare(with_mxfp4_experts(header) if name == "gpt-oss-120b" else header)


def recommended(
    name: str,
    *gpus: str,
    host_gib: int | None = 64,
    context: int = 32768,
    prefer: str = "quality",
    options: str = "",
) -> Recommendations:
    model, stated = model_of(name), parse_gpu_specs(gpus)
    devices = tuple(map(as_seen, stated))
    words = ("llama-server", "-m", "m.gguf", *options.split())
    launch = parse_llama_server(words[1:], {})
    now = plan_launch(launch, model, devices)
    assert isinstance(now, MemoryPlan)
    rooms: dict[str, Room | None] = {it.name: room_of(it) for it in stated}
    rooms["host"] = None if host_gib is None else Room(host_gib * GIB)
    return recommend(
        RecommendRequest(
            PlanContext(model, devices, rooms, {}),
            WhatIf(launch),
            now,
            Requirements(context, 1, prefer),
            words,
            now.model,
            now.architecture,
            model.hparams.n_ctx_train,
        )
    )


def loaded_by(item: Recommendation, name: str, *gpus: str) -> Loaded:
    """What the engine loads of the printed command, its own fit included."""
    devices = parse_gpu_specs(gpus)
    launch = parse_llama_server(tuple(shlex.split(item.command)[1:]), {})
    settings = settings_of(launch)
    assert isinstance(settings, LlamaSettings)
    found = loaded(model_of(name), launch, settings, FitSurroundings(tuple(map(as_seen, devices))))
    assert isinstance(found, Loaded), found
    return found


CASES = [
    ("gpt-oss-120b", ("24GiB",), 32768),
    ("llama-3.3-70b", ("24GiB",), 16384),
    ("qwen3-30b-a3b", ("12GiB",), 32768),
    ("llama-3.3-70b", ("RTX 4090", "RTX 3060"), 32768),
    ("gpt-oss-120b", ("RTX 3060", "RTX 4090"), 32768),
    ("qwen3-30b-a3b", ("RTX 3060", "RTX 3060"), 32768),
    ("qwen3-30b-a3b", ("RTX 3060", "RTX 3090"), 32768),
    ("glm-4.5-air", ("24GiB", "24GiB"), 8192),
]


@pytest.mark.parametrize(("name", "gpus", "context"), CASES)
def test_every_model_has_an_answer_that_the_engine_loads_as_planned(
    name: str, gpus: tuple[str, ...], context: int
) -> None:
    found = recommended(name, *gpus, context=context)
    assert found.items
    assert found.items[0].cache == "f16/f16"
    for item in found.items:
        assert item.fit is Fit.FITS
        assert item.sequence_tokens == context
        again = loaded_by(item, name, *gpus)
        assert again.plan.devices == item.plan.devices
        assert not again.fit.change, item.command
        for room in item.rooms:
            assert room.room is not None
            assert (room.needed.most_bytes or 0) <= room.room.low_bytes


def test_nothing_more_is_left_on_the_host_than_has_to_be() -> None:
    item = recommended("qwen3-30b-a3b", "12GiB").items[0]
    count = int(dict(item.changes)["n-cpu-moe"] or 0)
    assert f"experts of {count} of 48 layers on the host" in item.placement
    fewer = item.command.replace(f"--n-cpu-moe {count}", f"--n-cpu-moe {count - 1}")
    plan = loaded_by(replace(item, command=fewer), "qwen3-30b-a3b", "12GiB").plan
    card = plan.device("gpu0")
    assert card is not None
    room = item.rooms[0].room
    assert room is not None
    assert (card.memory.total.most_bytes or 0) > room.low_bytes


def test_a_quantized_cache_can_be_weighed_against_experts_on_the_host() -> None:
    plain, eight = recommended("qwen3-30b-a3b", "RTX 3060").items[:2]
    assert (plain.cache, eight.cache) == ("f16/f16", "q8_0/q8_0")
    layers = [int(dict(item.changes)["n-cpu-moe"] or 0) for item in (plain, eight)]
    assert layers[0] > layers[1]
    assert plain.decode[-1].tokens_per_second < eight.decode[-1].tokens_per_second
    assert eight.evidence is not None
    for item in (plain, eight):
        short, long = item.decode
        assert short.at_tokens == 1024
        assert long.at_tokens == 32768
        assert long.low < long.tokens_per_second < long.high
        assert {read.name for read in long.reads} == {"gpu0", "host"}


def test_a_host_that_is_too_small_refuses_the_placement() -> None:
    assert recommended("gpt-oss-120b", "24GiB", host_gib=16).items == ()
    unknown = recommended("gpt-oss-120b", "24GiB", host_gib=None)
    assert unknown.items
    assert any("on the host, whose memory is not known" in note for note in unknown.notes)


def test_preferring_speed_puts_the_faster_first() -> None:
    items = recommended("qwen3-30b-a3b", "RTX 3060", prefer="speed").items
    rates = [item.decode[-1].tokens_per_second for item in items if item.sequence_tokens == 32768]
    assert rates == sorted(rates, reverse=True)
    assert items[0].cache == "q8_0/q8_0"


def test_a_placement_as_typed_gives_way_to_a_better_one() -> None:
    typed = recommended("llama-3.3-70b", "24GiB", context=8192, options="-ngl 10").items[0]
    assert int(dict(typed.changes)["gpu-layers"] or 0) > 30
    assert "--gpu-layers" in typed.command
    assert "-ngl 10" not in typed.command
    kept = recommended("qwen3-30b-a3b", "RTX 4090", context=8192, options="-ngl 99").items[0]
    assert kept.placement == ""
    assert "-ngl 99" in kept.command


def test_the_faster_of_two_cards_gets_what_it_can_hold() -> None:
    for cards in (("RTX 3060", "RTX 3090"), ("RTX 3090", "RTX 3060")):
        item = recommended("qwen3-30b-a3b", *cards, context=8192).items[0]
        fast = f"gpu{cards.index('RTX 3090')}"
        assert item.placement == f"49 of 49 layers on {fast}"
        part = item.plan.device("gpu0" if fast == "gpu1" else "gpu1")
        assert part is not None
        assert part.memory.bytes_of(Segment.WEIGHTS) == 0
