"""Compute buffers against the engine's own reservation, and the rules that make them."""

import statistics
from dataclasses import replace
from types import SimpleNamespace

import pytest

from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.llamacpp.graph import block
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from kvtop.planning.llamacpp.rules.architectures import ARCHITECTURES
from tests.amounts import high_of, low_of, size_of
from tests.oracle import cases as oracle_cases
from tests.oracle.cases import Oracle

MIB = 2**20


def _errors_and_hits(oracle: Oracle) -> tuple[list[float], float]:
    prepared = {name: prepare(header) for name, header in oracle.headers.items()}
    errors = []
    hits = 0
    for case in oracle.cases:
        if "error" in case.expected:
            continue
        answer = plan(prepared[case.model], case.settings, case.devices)
        assert isinstance(answer, MemoryPlan)
        for name, expected in case.expected["by_device"].items():
            device = answer.device(name)
            assert device is not None
            truth = expected["compute"]
            if truth:
                errors.append(abs(device.memory[Segment.COMPUTE].value_bytes / truth - 1))
                hits += device.memory[Segment.COMPUTE].low_bytes <= truth <= device.memory[Segment.COMPUTE].high_bytes
    return errors, hits / len(errors)


def test_most_buffers_come_out_to_the_byte(oracle: Oracle) -> None:
    errors, in_range = _errors_and_hits(oracle)
    assert statistics.median(errors) == 0
    assert sorted(errors)[int(len(errors) * 0.95)] < 0.01
    assert in_range >= 0.98


def test_other_models_and_architectures_too(more_models: Oracle) -> None:
    errors, in_range = _errors_and_hits(more_models)
    assert statistics.median(errors) == 0
    assert sum(error < 0.0001 for error in errors) / len(errors) > 0.95
    assert in_range >= 0.98


def _plan(oracle: Oracle, flags: str, model: str = "llama-3.1-8b") -> MemoryPlan:
    settings = oracle_cases.settings_of(flags.split())
    answer = plan(oracle.headers[model], settings, oracle_cases.devices_of("gpu-sim"))
    assert isinstance(answer, MemoryPlan)
    return answer


def _device(answer: MemoryPlan) -> int:
    device = answer.device("gpu0")
    assert device is not None
    return size_of(device, Segment.COMPUTE)


def test_the_mask_grows_with_the_context(oracle: Oracle) -> None:
    short = _device(_plan(oracle, "-c 16384 -np 1"))
    long = _device(_plan(oracle, "-c 32768 -np 1"))
    # Two bytes a cell for each of 512 rows.
    assert long - short == 16384 * 512 * 2


def test_scores_need_memory_without_fused_attention(oracle: Oracle) -> None:
    unfused = _device(_plan(oracle, "-c 32768 -np 1 -fa off"))
    scores = 32 * 32768 * 512 * 4
    assert scores < unfused < scores + 200 * MIB


def test_experts_on_the_host_are_staged(oracle: Oracle) -> None:
    resident = _device(_plan(oracle, "-c 32768 -np 1", "qwen3-30b-a3b"))
    staged = _device(_plan(oracle, "-c 32768 -np 1 --cpu-moe", "qwen3-30b-a3b"))
    assert staged > resident + 100 * MIB


def test_small_batches_are_not_offloaded(oracle: Oracle) -> None:
    """Below 32 rows, the host computes what its weights are for."""
    offloaded = _device(_plan(oracle, "-c 4096 -np 1 -ngl 0 -ub 32"))
    kept = _device(_plan(oracle, "-c 4096 -np 1 -ngl 0 -ub 31"))
    assert kept < offloaded / 10


def test_weights_in_the_layout_of_the_cpu_stay_there(oracle: Oracle) -> None:
    """With `--no-host`, repacked matrices are not staged."""
    settings = replace(oracle_cases.settings_of(["-c", "4096", "-np", "1", "-ngl", "10"]), no_host=True)
    pinned = _device(_plan(oracle, "-c 4096 -np 1 -ngl 10"))
    answer = plan(oracle.headers["llama-3.1-8b"], settings, oracle_cases.devices_of("gpu-sim"))
    assert isinstance(answer, MemoryPlan)
    assert _device(answer) < pinned


def test_without_fused_attention_over_a_host_cache_the_range_holds_projection_and_server(oracle: Oracle) -> None:
    """qwen3-8b, 8192 cells: the engine projects 637540352 bytes on the card and 54540320 in host memory."""
    answer = _plan(oracle, "-c 8192 -np 1 -nkvo -fa off", "qwen3-8b")
    card, host = answer.device("gpu0"), answer.device("host")
    assert card is not None
    assert host is not None
    scores = 32 * 8192 * 512 * 4
    assert size_of(host, Segment.COMPUTE) > scores > size_of(card, Segment.COMPUTE)
    assert low_of(card, Segment.COMPUTE) < 109 * 10**6 < 637540352 < high_of(card, Segment.COMPUTE)
    assert low_of(host, Segment.COMPUTE) < 54540320 < scores < high_of(host, Segment.COMPUTE)


@pytest.mark.parametrize("arch", ["minimax-m3", "rwkv6", "plamo2"])
def test_unmeasured_architectures_have_wide_ranges(arch: str) -> None:
    headers, _ = oracle_cases.load_architectures()
    header = next(header for header in headers.values() if header.architecture == arch)
    answer = plan(header, LlamaSettings(ctx_tokens=4096, parallel=1, fit=False), oracle_cases.devices_of("cpu"))
    assert isinstance(answer, MemoryPlan)
    host = answer.devices[-1]
    assert 0 < low_of(host, Segment.COMPUTE) < 0.75 * size_of(host, Segment.COMPUTE)
    assert high_of(host, Segment.COMPUTE) > 1.25 * size_of(host, Segment.COMPUTE)


@pytest.mark.parametrize(
    ("model", "settings", "logged_mib"),
    [
        ("rwkv6-dense", LlamaSettings(ctx_tokens=4096), 8.76),
        ("rwkv6-dense", LlamaSettings(ctx_tokens=8192, ubatch_tokens=2048, parallel=1), 31.16),
        ("rwkv6-dense", LlamaSettings(ctx_tokens=2048, ubatch_tokens=64, parallel=1), 1.22),
        ("rwkv6-dense", LlamaSettings(ctx_tokens=16384, parallel=3), 8.15),
        ("rwkv7-dense", LlamaSettings(ctx_tokens=4096), 11.01),
        ("rwkv7-dense", LlamaSettings(ctx_tokens=8192, ubatch_tokens=2048, parallel=1), 38.16),
        ("rwkv7-dense", LlamaSettings(ctx_tokens=2048, ubatch_tokens=64, parallel=1), 1.44),
        ("rwkv7-dense", LlamaSettings(ctx_tokens=16384, parallel=3), 9.90),
        ("minicpm3-dense", LlamaSettings(ctx_tokens=4096), 9.27),
        ("minicpm3-dense", LlamaSettings(ctx_tokens=8192, parallel=2, flash_attention="off"), 28.01),
        ("minicpm3-dense", LlamaSettings(ctx_tokens=16384, parallel=3, type_k="q8_0", type_v="q8_0"), 10.37),
        ("minicpm3-dense", LlamaSettings(ctx_tokens=8192, ubatch_tokens=2048, parallel=1), 53.07),
    ],
)
def test_what_the_server_logged_is_reserved(model: str, settings: LlamaSettings, logged_mib: float) -> None:
    headers, _ = oracle_cases.load_architectures()
    answer = plan(headers[model], replace(settings, fit=False), ())
    assert isinstance(answer, MemoryPlan)
    (host,) = answer.devices
    assert size_of(host, Segment.COMPUTE) / MIB == pytest.approx(logged_mib, abs=0.006)
    assert high_of(host, Segment.COMPUTE) < 2 * size_of(host, Segment.COMPUTE)


@pytest.mark.parametrize(
    ("settings", "logged_mib"),
    [
        (LlamaSettings(ctx_tokens=4096), 8.27),
        (LlamaSettings(ctx_tokens=8192, parallel=2, flash_attention="off"), 18.14),
        (LlamaSettings(ctx_tokens=8192, ubatch_tokens=2048, parallel=1), 49.07),
    ],
)
def test_deepseek_from_before_absorbed_matrices(settings: LlamaSettings, logged_mib: float) -> None:
    headers, _ = oracle_cases.load_architectures()
    header = headers["deepseek2-moe"]
    attention = "deepseek2.attention."
    values = dict(header.metadata)
    lengths = {name: values.pop(f"{attention}{name}_mla") for name in ("key_length", "value_length")}
    values |= {f"{attention}{name}": length for name, length in lengths.items()}
    values[f"{attention}head_count_kv"] = values[f"{attention}head_count"]
    rows = 256  # of the one head: a key without its turned part, and a value
    tensors = tuple(
        replace(it, name=it.name.replace("k_b", "kv_b"), shape=(512, rows), size_bytes=512 * rows * 4)
        if it.name.endswith("attn_k_b.weight")
        else it
        for it in header.tensors
        if not it.name.endswith("attn_v_b.weight")
    )
    answer = plan(replace(header, metadata=values, tensors=tensors), replace(settings, fit=False), ())
    assert isinstance(answer, MemoryPlan)
    (host,) = answer.devices
    assert size_of(host, Segment.COMPUTE) / MIB == pytest.approx(logged_mib, abs=0.006)


@pytest.mark.parametrize(
    ("settings", "logged_mib"),
    [
        (LlamaSettings(ctx_tokens=32768, parallel=1), 291.77),
        (LlamaSettings(ctx_tokens=8192, parallel=1, ubatch_tokens=2048), 302.62),
        (LlamaSettings(ctx_tokens=16384, parallel=3, type_k="q8_0", type_v="q8_0"), 34.53),
    ],
)
def test_chosen_blocks_of_minimax_m3_are_of_the_right_order(settings: LlamaSettings, logged_mib: float) -> None:
    headers, _ = oracle_cases.load_architectures()
    answer = plan(headers["minimax-m3-moe"], replace(settings, fit=False), ())
    assert isinstance(answer, MemoryPlan)
    (host,) = answer.devices
    assert 0.8 * logged_mib < size_of(host, Segment.COMPUTE) / MIB < 1.6 * logged_mib
    assert low_of(host, Segment.COMPUTE) / MIB < logged_mib < high_of(host, Segment.COMPUTE) / MIB


@pytest.mark.parametrize(
    ("arch", "is_residual_first"),
    [("openelm", True), ("jamba", True), ("lfm2", True), ("lfm2moe", True), ("llama", False)],
)
def test_which_operand_a_residual_connection_takes_over(arch: str, is_residual_first: bool) -> None:
    """openelm.cpp: `ffn_inp = ggml_add(residual, cur)`; jamba.cpp and lfm2.cpp too; llama.cpp: `ggml_add(cur, inpSA)`.

    The allocator gives the sum the memory of the first operand that nothing reads any more.
    """
    taken: list[tuple[str, str]] = []

    def add(first: str, second: str) -> str:
        taken.append((first, second))
        return first

    walk = SimpleNamespace(hparams=SimpleNamespace(traits=ARCHITECTURES[arch]), add=add)
    block._summed(walk, "out", "residual", "attention")  # type: ignore[arg-type]  # what it asks for
    assert taken == [("residual", "out") if is_residual_first else ("out", "residual")]
