"""Versions: what a text says, which range holds it, and what an unchecked one costs."""

from dataclasses import replace

import pytest

from kvtop.domain.figure import Basis
from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.commands.command import parse_command
from kvtop.planning.llamacpp.options.parse import parse_llama_server
from kvtop.planning.protocol.engine_rules import EngineRules
from kvtop.planning.registry import all_engines, plan_launch
from kvtop.planning.versions import VersionRange, as_estimate, chosen_range, version_numbers
from kvtop.sources.demo.gguf_models import llama31_8b
from tests.amounts import high_of, is_exact, low_of, size_of

OLD, NEW = VersionRange("b100", "b200"), VersionRange("b300", "b400")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("b11434", (11434,)),
        ("b11434-5ebf41ce", (11434,)),
        ("11434 (5ebf41ce)", (11434,)),
        ("0.32.0", (0, 32, 0)),
        ("v0.32.0", (0, 32, 0)),
        ("0.32.0+cpu", (0, 32, 0)),
        ("0.33.0rc1", (0, 33, 0)),
        ("", None),
        ("latest", None),
        ("b", None),
        ("9" * 5000, None),
        (None, None),
    ],
)
def test_a_version_is_read_from_what_servers_and_images_say(text: str | None, numbers: tuple[int, ...] | None) -> None:
    assert version_numbers(text) == numbers


@pytest.mark.parametrize(
    ("version", "used", "is_checked"),
    [
        (None, NEW, True),
        ("b0-unknown", NEW, True),
        ("b1", OLD, False),
        ("b99", OLD, False),
        ("b100", OLD, True),
        ("b200", OLD, True),
        ("b201", OLD, False),
        ("b249", OLD, False),
        ("b250", NEW, False),
        ("b299", NEW, False),
        ("b300", NEW, True),
        ("b400-abc", NEW, True),
        ("b401", NEW, False),
        ("latest", NEW, False),
    ],
)
def test_the_range_that_holds_a_version_else_the_nearest(
    version: str | None, used: VersionRange, is_checked: bool
) -> None:
    chosen = chosen_range((OLD, NEW), version)
    assert (chosen.range, chosen.is_checked) == (used, is_checked)
    assert bool(chosen.reason) is not is_checked


def test_a_range_without_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="'latest'"):
        VersionRange("b1", "latest")


@pytest.mark.parametrize("rules", all_engines(), ids=lambda rules: rules.name)
def test_ranges_of_an_engine_are_in_order_and_apart(rules: EngineRules) -> None:
    versions = rules.traits.versions
    assert versions
    ends = [version_numbers(end) or () for each in versions for end in (each.first, each.last)]
    assert ends == sorted(ends)
    assert len({each.first for each in versions}) == len(versions)


def planned(version: str | None) -> MemoryPlan:
    launch = replace(parse_llama_server(["-m", "x.gguf", "-c", "4096"], {}), engine_version=version)
    plan = plan_launch(launch, llama31_8b("/models/llama-3.1-8b.gguf"), ())
    assert isinstance(plan, MemoryPlan)
    return plan


def test_a_checked_version_is_exact_and_another_is_an_estimate_by_type() -> None:
    exact, same, other = planned(None), planned("b11434-5ebf41ce"), planned("b12500")
    assert exact == same
    assert all(map(is_exact, exact.devices))
    for before, after in zip(exact.devices, other.devices, strict=True):
        weights, cache = Segment.WEIGHTS, Segment.KV_CACHE
        for segment in (weights, cache, Segment.RECURRENT):
            assert after.memory[segment].basis is Basis.ESTIMATED
            assert "b12500" in after.memory[segment].source
            assert size_of(after, segment) == size_of(before, segment)
        assert low_of(after, weights) <= size_of(after, weights) <= high_of(after, weights)
        assert size_of(after, cache) == 0 or low_of(after, cache) < size_of(after, cache) < high_of(after, cache)
        assert high_of(after, Segment.COMPUTE) >= 2 * size_of(after, Segment.COMPUTE)
        assert low_of(after, Segment.COMPUTE) <= low_of(before, Segment.COMPUTE)


def test_two_doubts_about_one_figure_are_both_named() -> None:
    once = as_estimate(planned(None), "first doubt")
    twice = as_estimate(once, "second doubt")
    parts = zip(once.devices, twice.devices, strict=True)
    for before, after in parts:
        assert after.memory[Segment.WEIGHTS].source.endswith("; first doubt; second doubt")
        assert high_of(after, Segment.WEIGHTS) >= high_of(before, Segment.WEIGHTS)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("vllm/vllm-openai:v0.17.1", "v0.17.1"),
        ("vllm/vllm-openai:v0.20.0-cu129", "v0.20.0"),
        ("registry:5000/vllm/vllm-openai:v0.21.0", "v0.21.0"),
        ("ghcr.io/ggml-org/llama.cpp:server-cuda-b9660", "b9660"),
        ("ghcr.io/ggml-org/llama.cpp:server-b9660@sha256:ab", "b9660"),
        ("vllm/vllm-openai:latest", None),
        ("localhost:5000/vllm:nightly", None),
        ("vllm/vllm-openai@sha256:1234", None),
        ("vllm/vllm-openai", None),
    ],
)
def test_the_tag_of_an_image_says_the_version(image: str, version: str | None) -> None:
    words = ["docker", "run", image, "vllm", "serve", "m"] if "vllm" in image else ["docker", "run", image, "-m", "x"]
    container = parse_command(words).container
    assert container is not None
    assert (container.image, container.image_version) == (image, version)


def test_between_two_checked_builds_a_plan_is_exact_where_they_agree() -> None:
    for after in planned("b10500").devices:
        for segment in (Segment.WEIGHTS, Segment.KV_CACHE, Segment.RECURRENT):
            assert after.memory[segment].basis is not Basis.ESTIMATED


def test_between_two_checked_builds_that_differ_the_range_holds_both() -> None:
    """b6900 does not round cells up, b7079 does; and what b7000 did nobody looked at."""
    launch = parse_llama_server(["-m", "x.gguf", "-c", "3000", "-np", "3", "-ngl", "0"], {})
    model = llama31_8b("/models/llama-3.1-8b.gguf")
    by_version = {}
    for version in ("b6900", "b7000", "b7079"):
        answer = plan_launch(replace(launch, engine_version=version), model, ())
        assert isinstance(answer, MemoryPlan)
        host = answer.device("host")
        assert host is not None
        by_version[version] = host
    cache = Segment.KV_CACHE
    ends = size_of(by_version["b6900"], cache), size_of(by_version["b7079"], cache)
    assert ends[0] < ends[1]
    between = by_version["b7000"]
    assert between.memory[cache].basis is Basis.ESTIMATED
    assert (low_of(between, cache), high_of(between, cache)) == ends
    assert between.memory[Segment.WEIGHTS].basis is Basis.COMPUTED
