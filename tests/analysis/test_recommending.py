"""Recommendations fit, are planned like their own command, and never advise against the evidence."""

import shlex
from dataclasses import replace

import pytest

from kvtop.analysis.recommending import RecommendRequest, recommend
from kvtop.domain.answers.cache_speed import Speed
from kvtop.domain.answers.evidence import Measurement, Tier
from kvtop.domain.answers.recommendation import Recommendation, Recommendations, Requirements
from kvtop.domain.answers.room import Fit, Room
from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import MemoryPlan, PlanDevice
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.candidates import candidates
from kvtop.planning.commands.command import parse_command
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.parse import parse_llama_server
from kvtop.planning.mlx.options import parse_server_options
from kvtop.planning.protocol.plan_context import PlanContext, PlannableModel
from kvtop.planning.registry import plan_launch
from kvtop.planning.vllm.options.parse import parse_serve_options
from kvtop.sources.demo.gguf_models import gemma3_27b, llama31_8b
from kvtop.views.text.recommendation_text import recommendations_json, recommendations_text
from tests.models.tiny_models import tiny_checkpoint

GIB = 2**30
LLAMA, GEMMA = prepare(llama31_8b("/m.gguf")), prepare(gemma3_27b("/g.gguf"))


def parsed(words: list[str]) -> LaunchOptions:
    command = parse_command(words)
    if command.engine == "llama.cpp":
        return parse_llama_server(command.words, {})
    return (parse_serve_options if command.engine == "vllm" else parse_server_options)(command.words)


def asked(
    command: str,
    model: PlannableModel = LLAMA,
    requirements: Requirements = Requirements(),  # noqa: B008  frozen
    *,
    gib: float = 24,
    backend: str = "cuda",
    version: str | None = None,
    own: tuple[Measurement, ...] = (),
    cards: int = 1,
) -> RecommendRequest:
    words = shlex.split(command)
    launch = parsed(words)
    size = int(gib * GIB)
    devices = tuple(PlanDevice(f"gpu{index}", size, size, compute_api=backend) for index in range(cards))
    at_tokens = (requirements.context_tokens or 4096) if launch.engine == "mlx" else None
    now = plan_launch(launch, model, devices, at_tokens=at_tokens)
    assert isinstance(now, MemoryPlan)
    rooms: dict[str, Room | None] = {device.name: Room(size) for device in devices}
    rooms["host"] = Room(size) if launch.engine == "mlx" else None
    plan_context = PlanContext(model, () if launch.engine == "mlx" else devices, rooms, {})
    base = WhatIf(launch, at_tokens=at_tokens)
    return RecommendRequest(
        plan_context, base, now, requirements, tuple(words), now.model, now.architecture, 131072, version, own=own
    )


def own(type_k: str, type_v: str, nats: float) -> Measurement:
    return Measurement(
        "Llama 3.1 8B Instruct", ("llama",), type_k, type_v, "on", "kl_divergence", nats, "", "nats/token", "f16/f16",
        "kvtop quality", "", 2026, Tier.OWN,
    )  # fmt: skip


def test_the_bytes_are_those_of_the_command_that_is_shown() -> None:
    for prefer in ("quality", "memory"):
        question = asked("llama-server -m /m.gguf -ctk q4_0 -ctv q8_0", LLAMA, Requirements(32768, 4, prefer))
        found = recommend(question)
        assert len(found.items) >= 2
        for item in found.items:
            again = plan_launch(parsed(shlex.split(item.command)), LLAMA, question.plan_context.devices)
            assert isinstance(again, MemoryPlan)
            assert again.devices == item.plan.devices
            assert again.context is not None
            assert (again.context.n_ctx_seq, again.context.n_seq_max) == (32768, 4)
            card = item.rooms[0]
            assert (card.needed.most_bytes or 0) <= (card.room_bytes or 0)


def test_keys_never_get_fewer_bits_than_values_whatever_was_measured() -> None:
    measured = tuple(own(k, v, 0.0001) for k in CACHE_TYPES for v in CACHE_TYPES)
    for backend in ("cuda", "vulkan", "metal"):
        for gib in (6.0, 8.0, 12.0, 24.0):
            for prefer in ("quality", "memory"):
                requirements = Requirements(32768, 1, prefer)
                found = recommend(
                    asked(
                        "llama-server -m /m.gguf",
                        LLAMA,
                        requirements,
                        gib=gib,
                        backend=backend,
                        version="b11434",
                        own=measured,
                    )
                )
                for item in found.items:
                    row = [CACHE_TYPES[kind] for kind in item.cache.split("/")]
                    per_value = [kind.block_bytes / kind.block_values for kind in row]
                    assert per_value[0] >= per_value[1]


def test_four_bits_only_with_a_measurement_of_this_model() -> None:
    requirements = Requirements(65536, 1, "memory")
    command = "llama-server -m /m.gguf"

    def caches(*measured: Measurement) -> set[str]:
        return {item.cache for item in recommend(asked(command, LLAMA, requirements, own=measured)).items}

    assert "q4_0/q4_0" not in caches()
    assert "q4_0/q4_0" in caches(own("q4_0", "q4_0", 0.01))
    assert "q4_0/q4_0" not in caches(own("q4_0", "q4_0", 0.5))


@pytest.mark.parametrize(
    ("backend", "version", "offered"),
    [("cuda", None, False), ("cuda", "b11434", False), ("metal", "b11434", False), ("vulkan", None, True)],
)
def test_mixed_types_only_where_they_are_known_to_be_read(backend: str, version: str | None, offered: bool) -> None:
    question = asked(
        "llama-server -m /m.gguf", LLAMA, Requirements(65536, 1, "memory"), backend=backend, version=version,
        own=(own("q8_0", "q4_0", 0.001),),
    )  # fmt: skip
    found = recommend(question)
    assert ("q8_0/q4_0" in {item.cache for item in found.items}) is offered
    assert any(line.startswith("q8_0/q4_0") for line in found.left_out) is not offered


def test_the_order_of_advice() -> None:
    found = recommend(asked("llama-server -m /m.gguf", LLAMA, Requirements(65536, 1)))
    assert [item.cache for item in found.items] == ["f16/f16", "q8_0/q8_0"]
    assert all(dict(item.changes).get("flash-attn") == "on" for item in found.items[1:])
    assert "usually negligible" in found.items[1].why
    assert "free" not in recommendations_text(found)
    small = recommend(asked("llama-server -m /m.gguf", LLAMA, Requirements(65536, 1, "memory")))
    sizes = [item.total_bytes for item in small.items]
    assert sizes == sorted(sizes)


def test_what_does_not_fit_on_the_card_is_offered_with_the_host_and_shorter_and_said_so() -> None:
    found = recommend(asked("llama-server -m /m.gguf", LLAMA, Requirements(131072, 4), gib=12))
    assert [item.uses_host for item in found.items] == [True, True, False]
    assert [item.sequence_tokens == 131072 for item in found.items] == [True, True, False]
    assert any("shorter context" in note for note in found.notes)
    assert any("--host" in note for note in found.notes)
    small = recommend(asked("llama-server -m /m.gguf", LLAMA, Requirements(4096, 1), gib=2))
    assert small.items
    assert all(item.uses_host and item.fit is Fit.FITS for item in small.items)


def test_where_the_host_is_too_small_nothing_is_offered() -> None:
    question = asked("llama-server -m /m.gguf", LLAMA, Requirements(4096, 1), gib=2)
    rooms = {**question.plan_context.rooms, "host": Room(GIB)}
    found = recommend(replace(question, plan_context=replace(question.plan_context, rooms=rooms)))
    assert found.items == ()
    assert "f16/f16: does not fit" in found.left_out


def test_a_smaller_micro_batch_is_offered_only_where_it_saves_something() -> None:
    command = "llama-server -m /m.gguf -ub 4096 -b 4096"
    changed = [dict(item.changes) for item in recommend(asked(command, LLAMA, Requirements(8192, 1))).items]
    assert any(it.get("ubatch-size") == "256" for it in changed)
    long = [
        dict(item.changes) for item in recommend(asked("llama-server -m /m.gguf", LLAMA, Requirements(65536, 1))).items
    ]
    assert not any("ubatch-size" in it for it in long)


def test_what_was_asked_for_comes_first_even_where_it_is_tight() -> None:
    for gib in (8.0, 8.5, 9.0, 9.5, 10.0, 10.5, 11.0):
        found = recommend(asked("llama-server -m /m.gguf", LLAMA, Requirements(65536, 1), gib=gib))
        as_wished = [item.sequence_tokens == 65536 for item in found.items]
        assert as_wished == sorted(as_wished, reverse=True)
        assert len(found.items) <= 3


def test_the_longest_context_that_is_offered_is_the_longest() -> None:
    question = asked("llama-server -m /m.gguf", LLAMA, Requirements(131072, 1), gib=12)
    item = recommend(question).items[-1]
    assert "the longest context that surely fits" in item.why
    longer = replace(question, requirements=Requirements((item.sequence_tokens or 0) + 256, 1))
    options = {name for name, _ in item.changes}
    assert not any(
        {name for name, _ in it.changes} == options
        and it.cache == item.cache
        and it.fit is Fit.FITS
        and (it.sequence_tokens or 0) > (item.sequence_tokens or 0)
        for it in recommend(longer).items
    )


def test_a_family_that_suffers_is_warned_of_and_comes_last() -> None:
    question = replace(
        asked("llama-server -m /m.gguf", LLAMA, Requirements(8192, 1)), model="Gemma 4 31B", architecture="gemma4"
    )
    found = recommend(question)
    assert [item.cache for item in found.items] == ["f16/f16", "q8_0/q8_0"]
    assert "measured to change this family's output" in found.items[1].why


def test_vllm_users_are_held_by_the_pool() -> None:
    command = "vllm serve /m --max-model-len 4096 --kv-cache-memory-bytes 16777216"
    found = recommend(asked(command, tiny_checkpoint(), Requirements(2048, 4)))
    assert {item.cache for item in found.items} == {"auto", "fp8"}
    assert "about" not in recommendations_text(found).split("at once: fits")[0].splitlines()[-1]
    assert all((item.sequences or 0) >= 4 for item in found.items)
    many = recommend(asked(command, tiny_checkpoint(), Requirements(4096, 40)))
    assert all((item.sequence_tokens or 0) < 4096 for item in many.items)
    assert any("requests of full length" in line for line in many.left_out)


def test_vllm_is_spread_over_as_many_cards_as_it_needs() -> None:
    command = "vllm serve /m --max-model-len 4096"
    question = asked(command, tiny_checkpoint(), cards=4)
    tried = [it.placement for it in candidates(question) if it.placement]
    assert tried == ["over 2 cards", "over 2 cards", "over 4 cards", "over 4 cards"]
    wide = [dict(it.what_if.changes) for it in candidates(asked(f"{command} --dtype float32", tiny_checkpoint()))]
    assert any(it.get("dtype") == "bfloat16" for it in wide)
    for item in recommend(question).items:
        assert item.decode or item.decode_note


@pytest.mark.parametrize(("capability", "offered"), [((8, 0), False), ((8, 9), True), ((9, 0), True), (None, False)])
def test_fp8_only_on_cards_whose_kernels_read_it(capability: tuple[int, int] | None, offered: bool) -> None:
    question = asked("vllm serve /m --max-model-len 4096 --kv-cache-memory-bytes 16777216", tiny_checkpoint())
    cards = tuple(replace(it, compute_capability=capability) for it in question.plan_context.devices)
    found = recommend(replace(question, plan_context=replace(question.plan_context, devices=cards)))
    assert ("fp8" in {item.cache for item in found.items}) is offered
    assert any(line.startswith("fp8: ") for line in found.left_out) is not offered


def test_mlx_keeps_a_cache_for_each_user() -> None:
    command = "mlx_lm.server --model /m --quantized-kv-start 0"
    one = recommend(asked(command, tiny_checkpoint(), Requirements(4096, 1)))
    eight = recommend(asked(command, tiny_checkpoint(), Requirements(4096, 8)))
    grown = [b.total_bytes - a.total_bytes for a, b in zip(one.items, eight.items, strict=True)]
    assert all(size > 0 for size in grown)
    assert any(item.speed.speed is Speed.ONE_AT_A_TIME for item in one.items)


def test_a_quantization_that_saves_nothing_is_left_out() -> None:
    late = recommend(asked("mlx_lm.server --model /m", tiny_checkpoint(), Requirements(4096, 1)))
    assert [item.cache for item in late.items] == ["16-bit"]
    assert any("takes no less" in line for line in late.left_out)


def test_every_item_says_what_is_known_and_from_whom() -> None:
    for model in (LLAMA, GEMMA):
        found = recommend(asked("llama-server -m /m.gguf", model, Requirements(8192, 1)))
        text = recommendations_text(found)
        for item in found.items:
            if item.evidence is not None:
                assert "rotation" in text
                assert any(word in text for word in ("this model", "nearest measured", "no measurement"))
        assert '"schema": "kvtop.recommend/1"' in recommendations_json(found)


def test_items_are_values() -> None:
    found = recommend(asked("llama-server -m /m.gguf", LLAMA, Requirements(8192, 1)))
    assert isinstance(found, Recommendations)
    assert all(isinstance(item, Recommendation) for item in found.items)
