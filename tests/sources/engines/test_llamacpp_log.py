"""Buffer sizes from the server's own log, of recorded starts."""

import time
from pathlib import Path

import pytest

from kvtop.domain.memory import Segment
from kvtop.sources.engines.llamacpp_log import device_of, memory_reports

LOGS = Path(__file__).parents[2] / "fixtures" / "llamacpp" / "logs"
MIB = 2**20


def lines_of(name: str) -> list[str]:
    return (LOGS / f"{name}.log").read_text(encoding="utf-8").splitlines()


def mib(size_bytes: int | None) -> float:
    assert size_bytes is not None
    return round(size_bytes / MIB, 2)


def test_both_caches_of_a_windowed_model_are_summed() -> None:
    (host,) = memory_reports(lines_of("cpu_default_lv4"))
    assert host.device_id == "host"
    assert mib(host.memory.bytes_of(Segment.KV_CACHE)) == 96.00 + 37.50
    assert mib(host.memory.bytes_of(Segment.COMPUTE)) == 52.78 + 4.00
    assert host.memory.bytes_of(Segment.RECURRENT) == 0


def test_a_mapped_stretch_of_a_file_is_no_amount_of_weights() -> None:
    (host,) = memory_reports(lines_of("cpu_default_lv4"))
    assert (host.memory.bytes_of(Segment.WEIGHTS), host.total_bytes) == (None, None)


def test_devices_keep_the_number_that_the_engine_gives_them() -> None:
    card, host = memory_reports(lines_of("simgpu_c8192_np1_ngl99"))
    assert (
        card.device_id,
        mib(card.memory.bytes_of(Segment.WEIGHTS)),
        mib(card.memory.bytes_of(Segment.KV_CACHE)),
    ) == ("engine gpu0", 235.20, 24 + 15)
    assert host.memory.bytes_of(Segment.KV_CACHE) == 0
    assert card.rounding_bytes == 4 * (MIB // 100)


def test_the_last_load_counts() -> None:
    lines = lines_of("cpu_default_lv4")
    assert memory_reports([*lines, *lines]) == memory_reports(lines)
    begun = [*lines, *lines[:5]]
    assert "loading model" in "".join(lines[:5])
    assert memory_reports(begun) == ()


def test_a_log_of_the_default_verbosity_says_nothing() -> None:
    assert memory_reports(["0.00.010.313 I srv    load_model: loading model 'm.gguf'", "slot update: all idle"]) == ()


def test_a_buffer_in_an_unheard_of_place_makes_all_of_it_unknown() -> None:
    strange = "0.03 I llama_kv_cache: RPC[10.0.0.1:50052] KV buffer size =    96.00 MiB"
    assert memory_reports([*lines_of("cpu_default_lv4"), strange]) == ()


@pytest.mark.parametrize(
    ("buffer_type", "name"),
    [
        ("CUDA0", "engine gpu0"),
        ("CUDA11_Split", "engine gpu11"),
        ("Vulkan1", "engine gpu1"),
        ("Metal_Mapped", "engine gpu0"),
        ("MTL0_Mapped", "engine gpu0"),
        ("CPU_REPACK", "host"),
        ("CUDA_Host", "host"),
        ("RPC[10.0.0.1:50052]", None),
        ("AMX", None),
    ],
)
def test_where_a_buffer_type_lies(buffer_type: str, name: str | None) -> None:
    assert device_of(buffer_type) == name


@pytest.mark.parametrize("piece", ["a", "a ", " ", "KV buffer size = "])
def test_a_line_that_repeats_itself_takes_no_longer_than_another(piece: str) -> None:
    began = time.process_time()
    assert memory_reports(["load_model: loading model", piece * (1_000_000 // len(piece))]) == ()
    assert time.process_time() - began < 20


def test_a_size_of_endless_digits_is_none() -> None:
    line = f"llama_kv_cache:      CPU KV buffer size = {'9' * 400} MiB"
    assert memory_reports([line, line.replace("KV buffer", "compute buffer")]) == ()


@pytest.mark.parametrize(
    ("name", "api"), [("CUDA0", "cuda"), ("ROCm0", "rocm"), ("Vulkan0", "vulkan"), ("SYCL0", "sycl"), ("MTL0", "metal")]
)
def test_the_log_names_the_api_of_each_accelerator(name: str, api: str) -> None:
    lines = [line.replace("SIMCUDA0", "CUDA0").replace("CUDA0", name) for line in lines_of("simgpu_c8192_np1_ngl99")]
    assert any(name in line for line in lines)
    card, host = memory_reports(lines)
    assert (card.compute_api, host.compute_api) == (api, "")
