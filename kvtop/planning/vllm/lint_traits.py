"""vLLM as lint rules ask for it (0.32.0)."""

import re
from collections.abc import Mapping

from kvtop.domain.launch import LaunchOptions
from kvtop.planning.protocol.lint_traits import CacheProvision, Changes, LintTraits
from kvtop.planning.vllm.planner import options_refusal
from kvtop.planning.vllm.rules.ranges import NEWEST

PLAIN_TYPES = frozenset({None, "auto", "float16", "bfloat16"})
"""Of `--kv-cache-dtype`: nothing is quantized."""
_REMEDIES = (
    ("--disable-log-requests", "remove it: requests are not logged unless --enable-log-requests is given"),
    ("--swap-space", "remove it; --kv-offloading-size keeps blocks in host memory"),
    ("--calculate-kv-scales", "remove it; a calibrated checkpoint brings its scales"),
    ("--enable-prefix-caching/", "--enable-prefix-caching or --no-enable-prefix-caching, without a value"),
    ("--enable-chunked-prefill/", "--enable-chunked-prefill or --no-enable-chunked-prefill, without a value"),
    ("--speculative-model", "--speculative-config with a JSON value"),
    ("--num-speculative-tokens", "--speculative-config with a JSON value"),
    ("--rope-scaling", "--hf-overrides with a JSON value"),
    ("--task ", "--runner pooling for embeddings; nothing for generation"),
    ("--use-v2-block-manager", "remove it: no other remains"),
    ("--num-scheduler-steps", "remove it: scheduling is asynchronous by default"),
    ("--enable-reasoning", "--reasoning-parser NAME alone"),
    ("--device ", "remove it: the platform is detected automatically"),
    ("invalid choice: 'q8_0'", "--kv-cache-dtype fp8"),
    ("invalid choice: 'q4_0'", "--kv-cache-dtype fp8"),
    ("invalid choice: 'int8'", "--kv-cache-dtype int8_per_token_head, or fp8"),
    ("gpu_memory_utilization: Input should", "--gpu-memory-utilization 0.92: a share from 0 to 1"),
    (
        "larger than the number of available GPUs",
        "a smaller --tensor-parallel-size, or more cards (--gpu 2xSPEC: two)",
    ),
    ("--max-model-len: invalid", "--max-model-len with a number, or auto"),
)
_DERIVED = re.compile(r"derived max_model_len \(\w+=(\d+)")


def _remedy(launch: LaunchOptions, words: str) -> Changes | str:
    """By the words."""
    if "No valid attention backend" in words:
        return "" if launch.value("kv-cache-dtype") in PLAIN_TYPES else (("kv-cache-dtype", "auto"),)
    derived = _DERIVED.search(words)
    if derived is not None:
        return (("max-model-len", derived[1]),)
    return next((remedy for said, remedy in _REMEDIES if said in words), "")


def _mends(launch: LaunchOptions) -> tuple[Mapping[str, str | None], ...]:
    del launch
    return ({"kv-cache-dtype": None},)


def _unexported(launch: LaunchOptions, *, has_slots: bool) -> Changes:
    """/metrics tells, unless it is switched off."""
    del has_slots
    return (("disable-log-stats", None),) if launch.get("disable-log-stats") is not None else ()


TRAITS = LintTraits(
    engine="vllm",
    title=NEWEST.name,
    cache=CacheProvision.POOL,
    default_host="0.0.0.0",
    key_variables=("VLLM_API_KEY",),
    key_words="VLLM_API_KEY in the environment",
    private_options=("uds",),
    secret_options={"api-key": "VLLM_API_KEY in the environment", "hf-token": "HF_TOKEN in the environment"},
    idle_words="--enable-sleep-mode and POST /sleep, or stop it",
    cache_type_options=("kv-cache-dtype",),
    needs_device=True,
    options_refusal=options_refusal,
    mends=_mends,
    unexported=_unexported,
    remedy=_remedy,
)
