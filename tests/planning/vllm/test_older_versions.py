"""A plan for an older vLLM equals what that version's own planner answered, for every recorded case."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from kvtop.domain.figure import Basis
from kvtop.domain.memory import Segment
from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import DeviceShare, MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.registry import plan_launch
from kvtop.planning.vllm.options.parse import parse_serve_options
from kvtop.planning.vllm.rules.ranges import NEWEST, VERSIONS, rules_for
from tests.oracle.every_case import Answer, EveryCase, grouped
from tests.oracle.recorded import numbered, recorded

Ask = Callable[..., MemoryPlan | Refusal]
Words = Callable[[Mapping[str, Any]], list[str]]
Case = Mapping[str, Any]
GIB = 1024**3
OLD = "0.24.0"

_CONFIGS = recorded("vllm.json.gz")["configs"]
_OLD = recorded(f"vllm/{OLD}/vllm.json.gz")


def _options(case: Case) -> dict[str, Any]:
    options = {
        "tensor_parallel_size": case["tp"],
        "kv_cache_dtype": case["kv_dtype"],
        "block_size": case["block_size_arg"],
        "max_model_len": case.get("max_model_len"),
        "kv_cache_memory_bytes": case.get("available_bytes"),
        "max_num_batched_tokens": case.get("max_num_batched_tokens"),
        "max_num_seqs": case.get("max_num_seqs"),
    }
    return {**options, **case["extra_args"]}


def _has_exact_cache(part: DeviceShare) -> bool:
    """Weights are a range where a configuration alone is there."""
    return part.memory[Segment.KV_CACHE].basis is not Basis.ESTIMATED


def _first(value: object) -> object:
    return value[0] if isinstance(value, list) else value


_CASES = grouped((case["model"], case["id"], case) for case in _OLD["cases"])
_REFUSED = dict(zip(numbered(case["model"] for case in _OLD["refused"]), _OLD["refused"], strict=True))


def _refusal(plan: MemoryPlan | Refusal, due: str) -> Answer:
    said = plan.message[: len(due)] if isinstance(plan, Refusal) else plan
    return "refusal", said, due


@pytest.mark.parametrize("model", _CASES)
def test_a_case_of_the_older_version_is_exact(model: str, ask: Ask, words_of: Words, every_case: EveryCase) -> None:
    def answers(case: Case) -> Iterator[Answer]:
        expected = case["expected"]
        ranks = case["tp"] * case["pp"]
        plan = ask(_CONFIGS[model], words_of(_options(case)), card=case["gpu"], ranks=ranks, version=OLD)
        if "error" in expected:
            yield _refusal(plan, expected["error"])
            return
        assert isinstance(plan, MemoryPlan), plan
        yield "rules", plan.rules_version, f"vLLM {OLD}"
        yield "inexact", [part.name for part in plan.devices if not _has_exact_cache(part)], []
        pool = plan.vllm
        assert pool is not None
        yield "blocks", pool.num_gpu_blocks, expected["num_blocks"]
        yield "tokens", pool.kv_cache_tokens, expected["kv_tokens"]
        yield "concurrency", pool.max_concurrency, expected["max_concurrency"]
        yield "bytes a block", pool.bytes_per_block, _first(expected["pool_bytes_per_block_per_rank"])
        yield "bytes a token", pool.bytes_per_token_per_rank, _first(expected["bytes_per_token_per_rank"])
        yield "block size", pool.block_size_tokens, expected["block_size"]
        yield "caches", plan.devices[0].memory.bytes_of(Segment.KV_CACHE), _first(expected["allocated_bytes_per_rank"])

    every_case(_CASES[model], answers)


def test_what_the_older_version_refuses_is_refused_in_its_words(
    ask: Ask, words_of: Words, every_case: EveryCase
) -> None:
    def answers(case: Case) -> Iterator[Answer]:
        ranks = case["tp"] * case["pp"]
        plan = ask(_CONFIGS[case["model"]], words_of(_options(case)), card=case["gpu"], ranks=ranks, version=OLD)
        yield _refusal(plan, case["error"].split(": ", 1)[1].split("Value error, ")[-1].split(" [type=")[0])

    every_case(_REFUSED, answers)


def test_each_range_has_rules_of_its_own() -> None:
    assert [rules_for(each.first).version for each in VERSIONS] == [each.last for each in VERSIONS]
    assert rules_for(None) is NEWEST
    assert rules_for("0.25.1").version == OLD
    assert rules_for("0.99.0").version == NEWEST.version


def test_a_cache_type_is_refused_by_a_checked_version_only(ask: Ask) -> None:
    words = ["--kv-cache-dtype", "int4_per_token_head", "--kv-cache-memory-bytes", "10G", "--max-model-len", "8192"]
    config = _CONFIGS["llama-3.1-8b"]
    assert isinstance(ask(config, words, version=OLD), Refusal)
    assert isinstance(ask(config, words, version="0.25.1"), MemoryPlan)
    assert isinstance(ask(config, words, version=NEWEST.version), MemoryPlan)


@pytest.mark.parametrize(
    ("model", "words", "card", "ranks", "named"),
    [
        ("default-FalconH1ForCausalLM", (), "cc9.0", 1, "FalconH1ForCausalLM"),
        ("llama-3.1-8b", ("-pp", "2"), "cc9.0", 2, "--pipeline-parallel-size"),
        ("llama-3.1-8b", ("--spec-method", "ngram", "--spec-tokens", "3"), "cc9.0", 1, "--speculative-config"),
        ("llama-3.1-8b", (), "cc12.0", 1, "compute capability 12.x"),
    ],
)
def test_outside_what_was_recorded_of_it_a_version_is_an_estimate(
    ask: Ask, model: str, words: tuple[str, ...], card: str, ranks: int, named: str
) -> None:
    config = _CONFIGS.get(model) or recorded("vllm_more.json.gz")["configs"][model]
    given = ["--kv-cache-memory-bytes", "10G", "--max-model-len", "2048", *words]
    plan = ask(config, given, card=card, ranks=ranks, version=OLD)
    assert isinstance(plan, MemoryPlan)
    for part in plan.devices:
        assert not _has_exact_cache(part)
        assert part.memory[Segment.KV_CACHE].source.endswith(f"; rules of {OLD} were not checked with {named}")
    newest = ask(config, given, card=card, ranks=ranks)
    assert isinstance(newest, MemoryPlan)
    assert all(_has_exact_cache(part) for part in newest.devices)


def test_a_backend_that_came_later_is_no_plan(ask: Ask) -> None:
    with pytest.raises(NoExactRuleError, match=f"vLLM {OLD} does not have it"):
        ask(_CONFIGS["gemma-3-27b"], ["--attention-backend", "TRITON_FLASH_ATTN"], version=OLD)


def test_the_largest_cards_had_no_defaults_of_their_own(ask: Ask) -> None:
    words = ["--kv-cache-memory-bytes", "40G", "--max-model-len", "131072"]
    tokens = {}
    for version in (OLD, NEWEST.version):
        plan = ask(_CONFIGS["gemma-3-27b"], words, total_bytes=192 * GIB, version=version)
        assert isinstance(plan, MemoryPlan)
        tokens[version] = next(step.text for step in plan.steps if "tokens a batch" in step.text)
    assert tokens[OLD].startswith("8192 tokens a batch")
    assert tokens[NEWEST.version].startswith("16384 tokens a batch")


def test_the_registry_plans_both_ranges_exactly_and_others_as_estimates() -> None:
    words = ["DIR", "--kv-cache-memory-bytes", "10G", "--max-model-len", "32768"]
    card = PlanDevice("gpu0", 80 * GIB, None, (9, 0), "cuda", "NVIDIA H100 80GB HBM3")
    checkpoint = Checkpoint("DIR", _CONFIGS["gpt-oss-20b"], (), None)
    found = {}
    for version in (OLD, "0.19.0", "0.32.0"):
        options = parse_serve_options(words)
        plan = plan_launch(replace(options, engine_version=version), checkpoint, (card,))
        assert isinstance(plan, MemoryPlan)
        found[version] = (plan.rules_version, _has_exact_cache(plan.devices[0]))
    assert found == {
        OLD: ("vLLM 0.24.0", True),
        "0.19.0": ("vLLM 0.24.0", False),
        "0.32.0": ("vLLM 0.32.0", True),
    }
