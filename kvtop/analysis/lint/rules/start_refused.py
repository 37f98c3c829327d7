"""The engine would not start with this command line, for a reason that no other rule tells.

Why: unknown options, values out of range and combinations that the engine checks when it builds the model all end the
process before it serves anything. The words are the engine's own.

Source: common/arg.cpp and src/llama-context.cpp of llama.cpp b11434, vLLM 0.32.0, mlx-lm 0.32.2; another version may
know an option that this one does not, and the other way round.

Cost: the server does not start.

Fix: follows from the words; `--help` of the engine lists what it takes.

Fires on: an option that llama-server does not have. Quiet on: the same without it.
"""

import re
from difflib import get_close_matches

from kvtop.analysis.lint.fixes.fix import Way, options
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome, RuleModule
from kvtop.analysis.lint.rules import (
    bare_flash_attn_flag,
    cache_type_head_size,
    device_overcommitted,
    fp8_cache_unsupported_gpu,
    mla_cache_types_differ,
    pool_below_one_request,
    quantized_v_without_flash_attention,
)
from kvtop.analysis.lint.target import LintTarget
from kvtop.analysis.lint.vllm_pool import SIXTEEN_BITS
from kvtop.planning.llamacpp.options.refused_types import WORDS as UNSUPPORTED_TYPE
from kvtop.planning.llamacpp.options.table import BY_SPELLING

ENGINES: tuple[str, ...] = ("llama.cpp", "vllm", "mlx")
READS_LAUNCH = False
FIRES = Example("llama-server -m MODEL --draft-model DRAFT")
QUIET = Example("llama-server -m MODEL -md DRAFT", gpus=("48GiB",), model="qwen3-32b", draft="qwen3-8b")
VERSIONS = {"llama.cpp": "llama.cpp b11434", "vllm": "vLLM 0.32.0", "mlx": "mlx-lm 0.32.2"}
TOLD_BY: tuple[tuple[str, RuleModule], ...] = (
    ("requires flash_attn to be enabled", quantized_v_without_flash_attention),
    (cache_type_head_size.WORDS, cache_type_head_size),
    ("does not support different K", mla_cache_types_differ),
    (pool_below_one_request.WORDS, pool_below_one_request),
    ("No available memory for the cache blocks", pool_below_one_request),
    ("No available memory for the cache blocks", device_overcommitted),
    *((words, fp8_cache_unsupported_gpu) for words in fp8_cache_unsupported_gpu.REFUSALS),
)
"""Refusals of options and model together by their words, and the rule that tells them where it fires."""
_HINTS = (
    ("--draft-model", "-md FILE (--model-draft)"),
    ("--no-flash-attn", "--flash-attn off"),
    ("unknown value for --flash-attn", "--flash-attn on (or off, or auto)"),
    ('"-ngl": stoi', "-ngl all (or auto, or a number)"),
    ('gpu-layers": stoi', "-ngl all (or auto, or a number)"),
    ("--memory-f32", "--cache-type-k f32 --cache-type-v f32"),
    ("--no-mmap", "--load-mode none"),
    ("--mlock", "--load-mode mlock"),
    ("--cache-type ", "--cache-type-k q8_0 --cache-type-v q8_0"),
    ("--kv-cache-type", "--cache-type-k q8_0 --cache-type-v q8_0"),
    ("--max-model-len", "-c N (--ctx-size)"),
    ("split buffers", "--split-mode layer (the default), or tensor"),
    ("n_seq_max must be <= 256", "-np 256, or fewer"),
    ("doesn't contain MTP layers", "leave --spec-type out, or a file with prediction layers"),
    ("--quantize-kv-cache", "--kv-bits 8"),
    ("--max-kv-size", "leave it out: mlx_lm.server has no such option, only mlx_lm.generate does"),
    ("KeyError: ", "decimal units only: --prompt-cache-bytes 4GB"),
    ("--disable-log-requests", "leave it out: requests are not logged unless --enable-log-requests is given"),
    ("--swap-space", "leave it out; --kv-offloading-size keeps blocks in host memory"),
    ("--calculate-kv-scales", "leave it out; a calibrated checkpoint brings its scales"),
    ("--enable-prefix-caching/", "--enable-prefix-caching or --no-enable-prefix-caching, without a value"),
    ("--enable-chunked-prefill/", "--enable-chunked-prefill or --no-enable-chunked-prefill, without a value"),
    ("--speculative-model", "--speculative-config with a JSON value"),
    ("--num-speculative-tokens", "--speculative-config with a JSON value"),
    ("--rope-scaling", "--hf-overrides with a JSON value"),
    ("--task ", "--runner pooling for embeddings; nothing for generation"),
    ("--use-v2-block-manager", "leave it out: there is no other any more"),
    ("--num-scheduler-steps", "leave it out: scheduling is asynchronous by default"),
    ("--enable-reasoning", "--reasoning-parser NAME alone"),
    ("--device ", "leave it out: the platform is found by itself"),
    ("invalid choice: 'q8_0'", "--kv-cache-dtype fp8"),
    ("invalid choice: 'q4_0'", "--kv-cache-dtype fp8"),
    ("invalid choice: 'int8'", "--kv-cache-dtype int8_per_token_head, or fp8"),
    ("gpu_memory_utilization: Input should", "--gpu-memory-utilization 0.92: a share from 0 to 1"),
    ("larger than the number of available GPUs", "a smaller --tensor-parallel-size, or more cards (--gpu SPEC each)"),
)
_REMOVED = re.compile(r"has been removed\. use (--[\w-]+)")
_NOT_A_NUMBER = re.compile(r'argument "(-[\w-]+)": stoi$')
_DERIVED = re.compile(r"derived max_model_len \(\w+=(\d+)")
HELP = "see the engine's --help; checked against {}"
ALIKE = 0.86
"""How near a spelling must be to be named."""


def check(target: LintTarget) -> Outcome:
    """The first complaint that is not another rule's; then the refusal of options and model together."""
    own = [it for it in target.complaints if not _complaint_told(it)]
    words = own[0] if own else target.refusal
    if not words and not target.complaints and _is_unasked(target):
        return Lacks(f"whether the engine takes these options together is unknown: {target.plan_note}")
    if not words or (not own and (_refusal_told(target) or _is_about_request(target))):
        return None
    version = VERSIONS[target.engine]
    return Found(
        "error",
        f"{version} would not start: {words}",
        evidence=words,
        cost="the server does not start",
        fix=(_fix(target, words) or HELP.format(version),),
        otherwise=HELP.format(version),
    )


def _is_unasked(target: LintTarget) -> bool:
    """A running server has been asked by its own engine, and mlx_lm.server looks at no model before it starts."""
    return target.plan is None and target.observed is None and target.engine != "mlx"


def _complaint_told(words: str) -> bool:
    return bare_flash_attn_flag.is_bare(words) or UNSUPPORTED_TYPE in words


def _refusal_told(target: LintTarget) -> bool:
    """Whether the rule that knows these words really says them: a refusal must never be lost between two rules."""
    return any(isinstance(rule.check(target), Found) for words, rule in TOLD_BY if words in target.refusal)


def _is_about_request(target: LintTarget) -> bool:
    """mlx_lm.server starts with anything; what its plan refuses is a request, and has rules of its own."""
    return target.engine == "mlx" and not target.complaints


def _fix(target: LintTarget, words: str) -> Way:
    """By the words; for an option that llama-server does not know, by its name."""
    if "No valid attention backend" in words:
        return "" if target.value("kv-cache-dtype") in SIXTEEN_BITS else options(kv_cache_dtype="auto")
    derived = _DERIVED.search(words)
    if derived is not None:
        return options(max_model_len=derived[1])
    removed = _REMOVED.search(words)
    if removed is not None:
        return removed[1]
    hint = next((fix for name, fix in _HINTS if name in words), "")
    if hint or target.engine != "llama.cpp":
        return hint
    number = _NOT_A_NUMBER.search(words)
    if number is not None:
        return f"{number[1]} with a whole number below 2147483648"
    unknown = words.partition("invalid argument: ")[2]
    spec = BY_SPELLING.get(unknown.replace("_", "-") if unknown.startswith("--") else unknown)
    if spec is not None:
        return f"{unknown} with a space before its value: llama-server takes no ="
    near = get_close_matches(unknown, BY_SPELLING, n=1, cutoff=ALIKE) if unknown.startswith("--") else []
    return f"{near[0]}, if that was meant" if near else ""
