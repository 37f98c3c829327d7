"""The estimate holds against public measurements, and says what it does not know."""

from dataclasses import replace
from statistics import median

import pytest

from kvtop.domain.answers.decode_speed import DecodeSpeed
from kvtop.domain.plan import PlanDevice
from kvtop.planning.decode_speed import decode_speed
from kvtop.planning.gpus.bandwidths import BANDWIDTHS, bandwidth_of, bandwidths_of_size
from kvtop.planning.gpus.specs import parse_gpu_specs
from kvtop.planning.llamacpp.decode_reads import decode_reads
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.protocol.decode_reads import DecodeReads
from tests.decode.measurements import measurements, model_of

GIB = 2**30


def reads_of(model: str, gib: float, card: PlanDevice, at_tokens: int = 1024, **options: int) -> DecodeReads:
    settings = replace(LlamaSettings(ctx_tokens=65536, parallel=1), **options)  # type: ignore[arg-type]
    found = decode_reads(model_of(model, gib), settings, (card,), at_tokens)
    assert isinstance(found, DecodeReads)
    return found


def test_nine_of_ten_public_measurements_lie_within_the_range() -> None:
    rows = measurements()
    assert len(rows) >= 60
    within = [it for it in rows if (found := it.estimate()).low <= it.tokens_per_second <= found.high]
    assert len(within) >= 0.9 * len(rows)
    assert 0.9 <= median(it.tokens_per_second / it.estimate().tokens_per_second for it in rows) <= 1.1


@pytest.mark.parametrize("kind", ["on cards", "partly on the host", "mixtures on the host"])
def test_no_kind_of_placement_is_off_one_way(kind: str) -> None:
    rows = {
        "on cards": [it for it in measurements() if not it.flags and it.gpus != "none"],
        "partly on the host": [it for it in measurements() if "-ngl" in it.flags],
        "mixtures on the host": [it for it in measurements() if "moe" in it.flags],
    }[kind]
    assert len(rows) >= 3
    assert 0.7 <= median(it.tokens_per_second / it.estimate().tokens_per_second for it in rows) <= 1.3


def test_a_mixture_reads_the_experts_that_a_token_uses_and_no_embeddings() -> None:
    card = PlanDevice("gpu0", 80 * GIB, 80 * GIB)
    whole = reads_of("qwen3-30b-a3b", 17.28, card, 0)
    assert 1.7e9 < whole.weights["gpu0"] < 2.2e9
    assert "host" not in {name for name, amount in whole.weights.items() if amount}
    split = reads_of("qwen3-30b-a3b", 17.28, card, 0, cpu_moe_layers=24)
    assert split.weights["gpu0"] + split.weights["host"] == whole.weights["gpu0"]
    assert split.crossings == 48
    assert split.mixtures["gpu0"] == 24


def test_a_longer_sequence_is_slower_and_a_window_ends_that() -> None:
    card = parse_gpu_specs(("RTX 4090",))[0]
    speeds = []
    for tokens in (0, 8192, 32768):
        found = decode_speed(reads_of("llama-3.1-8b", 4.58, card, tokens), (card,))
        assert isinstance(found, DecodeSpeed)
        assert found.low < found.tokens_per_second < found.high
        speeds.append(found.tokens_per_second)
    assert speeds == sorted(speeds, reverse=True)
    per_token = reads_of("llama-3.1-8b", 4.58, card, 1).cache["gpu0"]
    assert per_token == 131072
    windowed = [reads_of("gemma-3-12b", 6.5, card, tokens).cache["gpu0"] for tokens in (1024, 2048, 4096)]
    assert windowed[2] - windowed[1] == 2 * (windowed[1] - windowed[0])


def test_what_is_not_known_widens_the_range_or_ends_it() -> None:
    named, sized = parse_gpu_specs(("RTX 4090",))[0], parse_gpu_specs(("24GiB",))[0]
    stated = parse_gpu_specs(("24GiB,bandwidth=1008GB/s",))[0]
    reads = reads_of("llama-3.1-8b", 4.58, named)
    known, guessed, told = (decode_speed(reads, (it,)) for it in (named, sized, stated))
    assert isinstance(known, DecodeSpeed)
    assert isinstance(guessed, DecodeSpeed)
    assert isinstance(told, DecodeSpeed)
    assert told.tokens_per_second == known.tokens_per_second
    assert guessed.low < known.low
    assert guessed.high >= known.high
    assert "assumed" in guessed.reads[0].source
    unknown = replace(named, product="Some Card Nobody Knows")
    answer = decode_speed(reads, (unknown,))
    assert isinstance(answer, str)
    assert "bandwidth" in answer
    host = reads_of("llama-3.3-70b", 39.6, named, gpu_layers=40)
    assumed, measured = decode_speed(host, (named,)), decode_speed(host, (named,), 70_000_000_000)
    assert isinstance(assumed, DecodeSpeed)
    assert isinstance(measured, DecodeSpeed)
    assert assumed.low < measured.low < measured.high < assumed.high


def test_names_of_bandwidths_are_found_as_people_and_drivers_write_them() -> None:
    for name in ("NVIDIA GeForce RTX 4090", "RTX 4090", "NVIDIA H100 80GB HBM3", "rtx4090", "Apple M2 Ultra"):
        assert bandwidth_of(name) is not None, name
    assert bandwidth_of("24GiB") is None
    assert bandwidth_of("") is None
    assert all(10**10 < amount < 10**13 for amount in BANDWIDTHS.values())
    low, high = bandwidths_of_size(24 * GIB) or (0, 0)
    assert 0 < low < 500e9
    assert high >= 1000e9


@pytest.mark.parametrize(
    "text", ["bandwidth=", "bandwidth=0GB/s", "bandwidth=936", "bandwidth=-1GB/s", "bandwidth=fast"]
)
def test_a_bandwidth_needs_its_unit(text: str) -> None:
    with pytest.raises(ValueError, match="bandwidth"):
        parse_gpu_specs((f"24GiB,{text}",))
