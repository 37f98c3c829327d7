"""The ranges of vLLM versions that were checked against the engine, the oldest first."""

from dataclasses import replace

from kvtop.planning.versions import VersionRange, chosen_range
from kvtop.planning.vllm.dtypes import CACHE_DTYPES
from kvtop.planning.vllm.rules.rules import Rules

NEWEST = Rules("0.32.0")

_V0_24 = Rules(
    "0.24.0",
    architectures=frozenset(
        {
            "DeepseekV2ForCausalLM",
            "Gemma3ForCausalLM",
            "GptOssForCausalLM",
            "LlamaForCausalLM",
            "Qwen3MoeForCausalLM",
            "Qwen3NextForCausalLM",
        }
    ),
    families=frozenset({8, 9, 10}),
    cache_dtypes=(
        *("auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc", "fp8_ds_mla"),
        *("turboquant_k8v4", "turboquant_4bit_nc", "turboquant_k3v4_nc", "turboquant_3bit_nc"),
        *("int8_per_token_head", "fp8_per_token_head", "nvfp4"),
    ),
    lacks_backends=frozenset(
        {"TRITON_FLASH_ATTN", "TRITON_FLASHINFER", "FLASH_ATTN_MLA_SPARSE", "FLASHINFER_MLA_SPARSE_SM90"}
    ),
    holds_tokens_in_flight=False,
    keeps_null_block=False,
    aligns_precisions=False,
    limits_state_block=True,
    counts_head_scales=False,
    has_large_card_defaults=False,
    describes_windows=False,
    names_packed_latent=False,
)

_RULES = (
    (VersionRange("0.24.0", "0.24.0", "every sixth recorded case, of six model classes; others are estimates"), _V0_24),
    (VersionRange("0.32.0", "0.32.0", "the recorded answers of tests/fixtures/oracle"), NEWEST),
)

VERSIONS = tuple(versions for versions, _ in _RULES)


def rules_for(version: str | None) -> Rules:
    """The rules of the range that holds a version, of the one before it outside of all, of the newest for None.

    Outside of a range a cache type is not refused for being unknown there: a later version may have learned it.
    """
    chosen = chosen_range(VERSIONS, version)
    rules = next(rules for versions, rules in _RULES if versions == chosen.range)
    return rules if chosen.is_checked else replace(rules, cache_dtypes=CACHE_DTYPES)
