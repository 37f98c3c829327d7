"""kvtop's plan equals what vLLM's own planner answered, for every recorded case."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from kvtop.domain.figure import Basis
from kvtop.domain.memory import Segment
from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.vllm.planner import plan_command
from tests.oracle.every_case import Answer, EveryCase, grouped
from tests.oracle.recorded import numbered, recorded

Ask = Callable[..., MemoryPlan | Refusal]
Words = Callable[[Mapping[str, Any]], list[str]]
GIB = 1024**3

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
}


def _options(case: Mapping[str, Any]) -> dict[str, Any]:
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


def _first(value: object) -> object:
    return value[0] if isinstance(value, list) else value


def _pool(plan: MemoryPlan, expected: Mapping[str, Any], bytes_per_block: object) -> Iterator[Answer]:
    pool = plan.vllm
    assert pool is not None
    yield "blocks", pool.num_gpu_blocks, expected["num_blocks"]
    yield "tokens", pool.kv_cache_tokens, expected["kv_tokens"]
    yield "concurrency", pool.max_concurrency, expected["max_concurrency"]
    yield "bytes a block", pool.bytes_per_block, bytes_per_block
    yield "bytes a token", pool.bytes_per_token_per_rank, _first(expected["bytes_per_token_per_rank"])
    yield "block size", pool.block_size_tokens, expected["block_size"]


_GIVEN = recorded("vllm.json.gz")
_MORE = recorded("vllm_more.json.gz")
Case = Mapping[str, Any]


_GIVEN_CASES = grouped((case["model"], case["id"], case) for case in _GIVEN["cases"])
_REFUSED = dict(zip(numbered(case["model"] for case in _GIVEN["refused"]), _GIVEN["refused"], strict=True))
_MORE_CASES = grouped(
    (case["model"], name, case)
    for name, case in zip(numbered(case["model"] for case in _MORE["cases"]), _MORE["cases"], strict=True)
)


def _refusal(plan: MemoryPlan | Refusal, due: str) -> Answer:
    said = plan.message[: len(due)] if isinstance(plan, Refusal) else plan
    return "refusal", said, due


@pytest.mark.parametrize("model", _GIVEN_CASES)
def test_a_case_of_the_oracle_is_exact(model: str, ask: Ask, words_of: Words, every_case: EveryCase) -> None:
    config = _GIVEN["configs"][model]

    def answers(case: Case) -> Iterator[Answer]:
        expected = case["expected"]
        plan = ask(config, words_of(_options(case)), card=case["gpu"], ranks=case["tp"] * case["pp"])
        if "error" in expected:
            yield _refusal(plan, expected["error"])
            return
        assert isinstance(plan, MemoryPlan), plan
        yield from _pool(plan, expected, _first(expected["pool_bytes_per_block_per_rank"]))

    every_case(_GIVEN_CASES[model], answers)


def test_what_vllm_refuses_is_refused_in_its_words(ask: Ask, words_of: Words, every_case: EveryCase) -> None:
    def answers(case: Case) -> Iterator[Answer]:
        config = _GIVEN["configs"][case["model"]]
        plan = ask(config, words_of(_options(case)), card=case["gpu"], ranks=case["tp"] * case["pp"])
        yield _refusal(plan, case["error"].split(": ", 1)[1].split("Value error, ")[-1].split(" [type=")[0])

    every_case(_REFUSED, answers)


@pytest.mark.parametrize("model", _MORE_CASES)
def test_other_models_and_mixes_are_exact(model: str, ask: Ask, words_of: Words, every_case: EveryCase) -> None:
    config = _MORE["configs"][model]

    def answers(case: Case) -> Iterator[Answer]:
        options, expected = case["options"], case["expected"]
        tp_size = options.get("tensor_parallel_size", 1)
        words = words_of({**options, "kv_cache_memory_bytes": case["available_bytes"]})
        plan = ask(config, words, card=case["gpu"], ranks=tp_size * options.get("pipeline_parallel_size", 1))
        if "error" in expected:
            assert isinstance(plan, Refusal), f"vLLM refuses with {expected['error']}"
            return
        assert isinstance(plan, MemoryPlan), plan
        yield from _pool(plan, expected, expected["bytes_per_block"][0])
        for rank, device in enumerate(plan.devices):
            due = expected["num_blocks"] * expected["bytes_per_block"][rank // tp_size]
            yield f"caches of {device.name}", device.memory.bytes_of(Segment.KV_CACHE), due

    every_case(_MORE_CASES[model], answers)


@pytest.mark.bench
def test_a_case_takes_milliseconds_of_cpu(ask: Ask, words_of: Words) -> None:
    cases = _GIVEN["cases"][:60]
    asked = [(_GIVEN["configs"][case["model"]], words_of(_options(case)), case) for case in cases]
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        for config, words, case in asked:
            ask(config, words, card=case["gpu"], ranks=case["tp"] * case["pp"])
        best = min(best, (time.process_time() - started) / len(cases))
    # The budget is 2 ms on an idle machine; a busy one slows down memory and caches too.
    assert best < 0.006


def test_an_unknown_architecture_is_no_number_at_all(ask: Ask) -> None:
    with pytest.raises(NoExactRuleError, match="NoSuchForCausalLM"):
        ask({**LLAMA, "architectures": ["NoSuchForCausalLM"]}, [])


def test_a_card_of_another_maker_is_an_estimate_or_no_number_at_all() -> None:
    card = PlanDevice("gpu0", 192 * GIB, None, None, "rocm", "MI300X")
    plan = plan_command(["DIR", "--kv-cache-memory-bytes", "20G"], Checkpoint("DIR", LLAMA, (), None), (card,))
    assert isinstance(plan, MemoryPlan)
    cache = plan.devices[0].memory[Segment.KV_CACHE]
    assert cache.basis is Basis.ESTIMATED
    assert "ROCm" in cache.source
    with pytest.raises(NoExactRuleError, match="CUDA cards only"):
        plan_command(["DIR"], Checkpoint("DIR", LLAMA, (), None), (replace(card, compute_api="sycl"),))


def test_default_batch_sizes_need_the_cards_memory(ask: Ask) -> None:
    with pytest.raises(NoExactRuleError, match="card's memory"):
        ask(LLAMA, [], total_bytes=None)


def test_without_a_stated_pool_blocks_are_unknown(ask: Ask) -> None:
    plan = ask(LLAMA, ["--max-model-len", "8192"])
    assert isinstance(plan, MemoryPlan)
    assert plan.vllm is not None
    assert plan.vllm.num_gpu_blocks is None
    assert plan.vllm.bytes_per_block == 32 * 16 * 8 * 256 * 2
    assert plan.devices[0].memory.bytes_of(Segment.KV_CACHE) is None
    assert any("kv-cache-memory-bytes" in warning for warning in plan.warnings)
    assert any(str(int(80 * GIB * 0.92) + 1) in step.text for step in plan.steps)


def test_defaults_follow_the_cards_memory(ask: Ask) -> None:
    """A window layer reserves the tokens in flight, whose default is larger on a larger card."""
    config = {**LLAMA, "sliding_window": 1024, "architectures": ["MistralForCausalLM"], "model_type": "mistral"}
    words = ["--kv-cache-memory-bytes", str(10 * GIB), "--max-model-len", "131072"]
    concurrency = {}
    for total in (24, 80, 192):
        plan = ask(config, words, total_bytes=total * GIB)
        assert isinstance(plan, MemoryPlan)
        assert plan.vllm is not None
        concurrency[total] = plan.vllm.max_concurrency
    held = {24: 2048, 80: 8192, 192: 16384}
    blocks = 10 * GIB // (32 * 16 * 8 * 256 * 2)
    assert concurrency == {total: blocks / (-(-(1023 + 2 * tokens) // 16) + 1) for total, tokens in held.items()}


def test_too_few_cards_are_refused(ask: Ask) -> None:
    plan = ask(LLAMA, ["-tp", "4"], ranks=2)
    assert isinstance(plan, Refusal)
    assert plan.message.startswith("World size (4) is larger than the number of available GPUs (2)")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-tp", "3"], "Total number of attention heads (32) must be divisible by tensor parallel size (3)."),
        (["--max-model-len", "1M"], "User-specified max_model_len (1048576) is greater than the derived"),
        (["--max-num-batched-tokens", "8", "--max-num-seqs", "16"], "max_num_batched_tokens (8) must be greater"),
        (["--kv-cache-dtype", "q4_0"], "argument --kv-cache-dtype: invalid choice: 'q4_0'"),
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        (["--kv-cache-memory-bytes", "1M"], "No available memory for the cache blocks."),
    ],
)
def test_refusals_of_the_command_line(ask: Ask, words: list[str], message: str) -> None:
    plan = ask(LLAMA, words, ranks=8)
    assert isinstance(plan, Refusal)
    assert plan.message.startswith(message)


def test_a_draft_model_is_not_planned(ask: Ask) -> None:
    drafting = '{"model": "draft", "num_speculative_tokens": 3}'
    with pytest.raises(NoExactRuleError, match="speculative decoding by draft_model"):
        ask(LLAMA, ["--speculative-config", drafting])


def test_drafts_from_the_prompt_keep_no_cache(ask: Ask) -> None:
    words = ["--kv-cache-memory-bytes", "10G", "--max-model-len", "8192"]
    plain = ask(LLAMA, words)
    drafted = ask(LLAMA, [*words, "--spec-method", "ngram", "--spec-tokens", "3"])
    assert isinstance(plain, MemoryPlan)
    assert isinstance(drafted, MemoryPlan)
    assert drafted.vllm == plain.vllm
    assert drafted.devices == plain.devices


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--spec-method", "ngram"], "num_speculative_tokens must be provided"),
        (["--speculative-config", '{"method":"ngram","num_speculative_tokens":0}'], "num_speculative_tokens: Input"),
        (["--speculative-config", "ngram"], "argument --speculative-config/-sc: Value ngram cannot be converted"),
        (["--spec-method", "ngram", "--spec-tokens", "2", "--async-scheduling"], "Currently, async scheduling is only"),
        (
            ["--spec-method", "ngram", "--speculative-config", '{"method":"ngram"}'],
            "--spec-method and --speculative-config['method'] are mutually exclusive",
        ),
        (
            ["-sc", '{"method":"ngram","num_speculative_tokens":2,"prompt_lookup_min":4,"prompt_lookup_max":3}'],
            "prompt_lookup_min=4 must be <= prompt_lookup_max=3",
        ),
        (["--hf-overrides", "[1]"], "argument --hf-overrides: Value [1] cannot be converted"),
    ],
)
def test_refusals_of_speculation_and_overrides(ask: Ask, words: list[str], message: str) -> None:
    plan = ask(LLAMA, words)
    assert isinstance(plan, Refusal)
    assert plan.message.startswith(message)


def test_a_class_of_one_stage_is_refused_over_two(ask: Ask) -> None:
    for name in (
        "AriaForConditionalGeneration",
        "PaddleOCRVLForConditionalGeneration",
        "SmolVLMForConditionalGeneration",
    ):
        plan = ask(_MORE["configs"][f"default-{name}"], ["-pp", "2", "--kv-cache-memory-bytes", "8G"], ranks=2)
        assert isinstance(plan, Refusal)
        assert plan.message.startswith("Pipeline parallelism is not supported for this model.")


def test_variables_of_the_environment_decide(ask: Ask) -> None:
    words = ["--kv-cache-memory-bytes", "40G", "--max-model-len", "200000"]
    assert isinstance(ask(LLAMA, words), Refusal)
    longer = ask(LLAMA, words, environ={"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"})
    assert isinstance(longer, MemoryPlan)
    assert longer.vllm is not None
    assert longer.vllm.max_model_len_tokens == 200000
    split = ["--kv-cache-memory-bytes", "10G", "--max-model-len", "8192", "-pp", "2"]
    uneven = ask(LLAMA, split, ranks=2, environ={"VLLM_PP_LAYER_PARTITION": "12,20"})
    assert isinstance(uneven, MemoryPlan)
    # 4096 bytes a token and layer; the stage with 20 layers has the fewest blocks, and both take as many.
    blocks = 10 * GIB // (20 * 4096 * 16)
    assert [part.memory.bytes_of(Segment.KV_CACHE) for part in uneven.devices] == [
        blocks * 16 * 4096 * layers for layers in (12, 20)
    ]


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("16", "len(partitions)=1 does not match pp_size=2."),
        ("16,15", "sum(partitions)=31 does not match num_hidden_layers=32."),
        ("16,x", "Invalid partition string: 16,x"),
    ],
)
def test_sizes_that_are_no_stages_are_refused(ask: Ask, stated: str, message: str) -> None:
    plan = ask(LLAMA, ["-pp", "2"], ranks=2, environ={"VLLM_PP_LAYER_PARTITION": stated})
    assert plan == Refusal("vllm", message)


@pytest.mark.parametrize(
    ("name", "value"),
    [("VLLM_MLA_DISABLE", "1"), ("VLLM_KV_CACHE_LAYOUT", "BLHNC"), ("VLLM_USE_V2_MODEL_RUNNER", "0")],
)
def test_a_variable_without_a_rule_is_not_ignored(ask: Ask, name: str, value: str) -> None:
    with pytest.raises(NoExactRuleError, match=name):
        ask(LLAMA, [], environ={name: value})


def test_engines_of_data_parallelism_have_a_pool_each(ask: Ask) -> None:
    words = ["--kv-cache-memory-bytes", "10G", "--max-model-len", "8192", "-tp", "2"]
    one = ask(LLAMA, words, ranks=2)
    two = ask(LLAMA, [*words, "--data-parallel-size", "2"], ranks=4)
    assert isinstance(one, MemoryPlan)
    assert isinstance(two, MemoryPlan)
    assert two.vllm == one.vllm
    assert [device.memory.bytes_of(Segment.KV_CACHE) for device in two.devices] == [
        one.devices[0].memory.bytes_of(Segment.KV_CACHE)
    ] * 4


def test_a_card_of_capability_8_0_is_an_a100_unless_it_is_named(ask: Ask) -> None:
    config = {**LLAMA, "sliding_window": 1024, "architectures": ["MistralForCausalLM"], "model_type": "mistral"}
    words = ["--kv-cache-memory-bytes", "10G"]
    named = ask(config, words, card="cc8.0")
    card = PlanDevice("gpu0", 80 * GIB, None, (8, 0))
    bare = plan_command(["DIR", *words], Checkpoint("DIR", config, (), None), (card,))
    assert isinstance(named, MemoryPlan)
    assert isinstance(bare, MemoryPlan)
    assert bare.vllm == named.vllm


def test_layers_that_share_a_cache_stay_on_one_stage(ask: Ask) -> None:
    config = _MORE["configs"]["gemma-4-e4b"]
    plan = ask(config, ["-pp", "4", "--kv-cache-memory-bytes", "10G", "--max-model-len", "8192"], ranks=4)
    assert isinstance(plan, Refusal)
    assert plan.message.startswith("Specified KV sharing target layer for model.layers.")
