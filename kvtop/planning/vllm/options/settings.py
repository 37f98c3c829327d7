"""The effective settings of `vllm serve` that decide memory, typed, with the defaults of vLLM 0.32.0.

Source: `engine/arg_utils.py` (`get_batch_defaults`, `_set_default_max_num_seqs_and_batched_tokens_args`),
`config/vllm.py` (`max_concurrent_batches`), `utils/argparse_utils.py` (`human_readable_int`).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import NoExactRuleError
from kvtop.planning.versions import version_numbers
from kvtop.planning.vllm.dtypes import CACHE_DTYPES
from kvtop.planning.vllm.options.capture import is_eager, sizes_of
from kvtop.planning.vllm.options.connector import connector_of
from kvtop.planning.vllm.options.environment import allows_long, refuse_to_guess, stage_layers
from kvtop.planning.vllm.options.field_bounds import refuse_out_of_bounds
from kvtop.planning.vllm.options.nested_fields import refuse_unknown_fields
from kvtop.planning.vllm.options.overrides import overrides_of
from kvtop.planning.vllm.options.speculation import NO_SPECULATION, Speculation, speculation_of
from kvtop.planning.vllm.options.weight_changes import NO_CHANGES, WeightChanges, weight_changes_of
from kvtop.planning.vllm.refusals import StartRefusedError
from kvtop.planning.vllm.rules.profile_rules import profile_rules
from kvtop.planning.vllm.rules.ranges import NEWEST, rules_for
from kvtop.planning.vllm.rules.rules import Rules

DEFAULT_UTILIZATION = 0.92
_SUFFIXES = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """None is "not given": vLLM then decides, and so do the rules. `rules` are those of the launch's version."""

    rules: Rules = NEWEST
    model: str = ""
    tp_size: int = 1
    pp_size: int = 1
    dcp_size: int = 1
    dp_size: int = 1
    """Engines side by side, each with ranks and a pool of its own."""
    dtype: str = "auto"
    cache_dtype: str = "auto"
    skip_layers: tuple[str, ...] = ()
    block_size: int | None = None
    max_model_len: int | None = None
    fit_length: bool = False
    """`--max-model-len auto`: the longest that fits."""
    max_batched_tokens: int | None = None
    max_seqs: int | None = None
    kv_cache_bytes: int | None = None
    """`--kv-cache-memory-bytes`, per rank."""
    blocks_override: int | None = None
    utilization: float = DEFAULT_UTILIZATION
    async_scheduling: bool = True
    prefix_caching: bool | None = None
    chunked_prefill: bool | None = None
    hybrid_manager: bool = True
    sliding_window: bool = True
    attention_backend: str | None = None
    flash_attn_version: int | None = None
    mamba_cache_dtype: str = "auto"
    mamba_ssm_cache_dtype: str = "auto"
    throughput_mode: bool = False
    language_model_only: bool = False
    draft_tokens: int = 0
    """Tokens that speculative decoding drafts a step."""
    speculation: Speculation = NO_SPECULATION
    config_overrides: Mapping[str, object] = field(default_factory=dict)
    """`--hf-overrides`: values in place of those of config.json."""
    allows_long: bool = False
    """A context beyond the configuration's is no error (VLLM_ALLOW_LONG_MAX_MODEL_LEN)."""
    stage_layers: str | None = None
    """Layers of each pipeline stage as written (VLLM_PP_LAYER_PARTITION)."""
    quantization: str = ""
    """`--quantization`, as written."""
    expert_parallel: bool = False
    whole_encoders: bool = False
    """Encoders are on every rank (`--mm-encoder-tp-mode data`)."""
    weight_changes: WeightChanges = NO_CHANGES
    version: tuple[int, ...] | None = None
    """The engine's version as its launch says it."""
    eager: bool = False
    """No CUDA graph is captured."""
    capture_sizes: tuple[int, ...] = ()
    largest_capture: int | None = None
    skips_encoder_profile: bool = False
    notes: tuple[str, ...] = ()
    """What a person should know of the options."""
    doubts: tuple[str, ...] = ()
    """Options for which kvtop has no rule and that change the cache little: the plan is an estimate then."""


def human_whole(text: str, option: str) -> int:
    """vLLM's numbers: "32k" is 32 000, "32K" is 32 768.

    Raises:
        StartRefusedError: not a number, in argparse's words.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgGtT])?", text.strip())
    if found is None or len(found[1]) > _MOST_DIGITS:
        raise StartRefusedError(f"argument --{option}: invalid int value: {text!r}")
    number, suffix = found.groups()
    if suffix is not None and (suffix.islower() or "." not in number):
        return int(float(number) * _SUFFIXES[suffix]) if "." in number else int(number) * _SUFFIXES[suffix]
    if "." in number:
        raise StartRefusedError(f"argument --{option}: invalid int value: {text!r}")
    return int(number)


def _share(options: LaunchOptions) -> float:
    given = options.value("gpu-memory-utilization")
    default = profile_rules(version_numbers(options.engine_version)).default_utilization
    try:
        return default if given is None else float(given)
    except ValueError as error:
        raise StartRefusedError(f"argument --gpu-memory-utilization: invalid float value: {given!r}") from error


_MOST_DIGITS = 4300
"""Python itself reads no longer number (sys.set_int_max_str_digits)."""

_UNPLANNED = {
    "prefill-context-parallel-size": "prefill context parallelism",
    "use-replayssm": "the replay buffers of Mamba state",
    "enable-return-routed-experts": "extra buffers",
    "hf-config-path": "another config.json is read",
}
"""Options that change the pool in ways that kvtop has no exact rule for."""


def settings_from(options: LaunchOptions) -> ServeSettings:
    """The settings of a command line.

    Raises:
        StartRefusedError: vLLM would not accept the command line.
        NoExactRuleError: an option is there that kvtop cannot plan exactly.
    """
    if options.errors:
        raise StartRefusedError(options.errors[0])
    for name, why in _UNPLANNED.items():
        value = options.value(name)
        if value not in (None, "", "false", "1"):
            raise NoExactRuleError(f"--{name}: {why}, which kvtop cannot plan exactly")
    refuse_to_guess(options)
    length = options.value("max-model-len")
    fit = length is not None and length.strip().lower() in ("auto", "-1")
    cache_dtype = options.value("kv-cache-dtype") or "auto"
    rules = rules_for(options.engine_version)
    _refuse_cache_dtype(cache_dtype, rules)
    utilization = _share(options)
    refuse_out_of_bounds(lambda name: _whole(options, name), utilization)
    max_model_len = None if length is None or fit else human_whole(length, "max-model-len")
    if max_model_len == 0:
        raise NoExactRuleError("--max-model-len 0: kvtop has no rule for a pool of requests without tokens")
    if rules is NEWEST:
        refuse_unknown_fields(options)
    connector = connector_of(options)
    attention = _attention_config(options)
    async_scheduling = _flag(options, "async-scheduling")
    speculation = speculation_of(options, asked_async=async_scheduling is True)
    return ServeSettings(
        rules=rules,
        model=options.value("model") or "",
        tp_size=_whole(options, "tensor-parallel-size") or 1,
        pp_size=_whole(options, "pipeline-parallel-size") or 1,
        dcp_size=_whole(options, "decode-context-parallel-size") or 1,
        dp_size=_whole(options, "data-parallel-size") or 1,
        dtype=options.value("dtype") or "auto",
        cache_dtype=cache_dtype,
        skip_layers=tuple((options.value("kv-cache-dtype-skip-layers") or "").split()),
        block_size=_whole(options, "block-size"),
        max_model_len=max_model_len,
        fit_length=fit,
        max_batched_tokens=_whole(options, "max-num-batched-tokens"),
        max_seqs=_whole(options, "max-num-seqs"),
        kv_cache_bytes=_whole(options, "kv-cache-memory-bytes"),
        blocks_override=_whole(options, "num-gpu-blocks-override"),
        utilization=utilization,
        async_scheduling=async_scheduling is not False and speculation.keeps_async,
        draft_tokens=speculation.draft_tokens,
        speculation=speculation,
        prefix_caching=_flag(options, "enable-prefix-caching"),
        chunked_prefill=_flag(options, "enable-chunked-prefill"),
        hybrid_manager=not _flag(options, "disable-hybrid-kv-cache-manager") and connector.keeps_groups,
        notes=(connector.note,) if connector.note else (),
        doubts=tuple(doubt for doubt in (_backend_doubt(options, attention), *_attention_doubts(attention)) if doubt),
        sliding_window=not _flag(options, "disable-sliding-window"),
        attention_backend=_backend(options, attention),
        flash_attn_version=_version(attention),
        mamba_cache_dtype=options.value("mamba-cache-dtype") or "auto",
        mamba_ssm_cache_dtype=options.value("mamba-ssm-cache-dtype") or "auto",
        throughput_mode=options.value("performance-mode") == "throughput",
        language_model_only=bool(_flag(options, "language-model-only")),
        config_overrides=overrides_of(options.value("hf-overrides")),
        allows_long=allows_long(options),
        stage_layers=stage_layers(options),
        quantization=options.value("quantization") or "",
        expert_parallel=bool(_flag(options, "enable-expert-parallel")),
        whole_encoders=options.value("mm-encoder-tp-mode") == "data",
        weight_changes=weight_changes_of(options),
        version=version_numbers(options.engine_version),
        eager=is_eager(options.value("enforce-eager"), options.value("compilation-config")),
        capture_sizes=sizes_of(options.value("cudagraph-capture-sizes")),
        largest_capture=_whole(options, "max-cudagraph-capture-size"),
        skips_encoder_profile=bool(_flag(options, "skip-mm-profiling")),
    )


def _refuse_cache_dtype(dtype: str, rules: Rules) -> None:
    if dtype not in CACHE_DTYPES:
        listed = ", ".join(sorted(rules.cache_dtypes))
        raise StartRefusedError(f"argument --kv-cache-dtype: invalid choice: {dtype!r} (choose from {listed})")
    if dtype not in rules.cache_dtypes:
        *most, last = (repr(known) for known in rules.cache_dtypes)
        raise StartRefusedError(
            f"1 validation error for CacheConfig\ncache_dtype\n  Input should be {', '.join(most)} or {last}"
        )


def _whole(options: LaunchOptions, name: str) -> int | None:
    value = options.value(name)
    return None if value is None else human_whole(value, name)


def _flag(options: LaunchOptions, name: str) -> bool | None:
    value = options.value(name)
    return None if value is None else value == "true"


def _attention_config(options: LaunchOptions) -> Mapping[str, object]:
    """`--attention-config`, of which the backend and the FlashAttention version decide about the cache."""
    text = options.value("attention-config")
    if text is None:
        return {}
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise StartRefusedError(f"argument --attention-config/-ac: {error}") from None
    if not isinstance(parsed, Mapping):
        raise StartRefusedError(f"argument --attention-config/-ac: not an object: {text!r}")
    return parsed


_ELSEWHERE = ("ROCM_", "XPU_")
"""How the names of attention backends of other platforms begin."""
_CHANGES_CACHE = ("indexer_kv_dtype", "backend_per_kind", "hisparse_config", "flex_attn_kv_block_size")


def _asked_backend(options: LaunchOptions, attention: Mapping[str, object]) -> str:
    value = options.value("attention-backend") or attention.get("backend")
    return value.upper() if isinstance(value, str) and value.lower() != "auto" else ""


def _backend(options: LaunchOptions, attention: Mapping[str, object]) -> str | None:
    asked = _asked_backend(options, attention)
    return None if not asked or asked.startswith(_ELSEWHERE) else asked


def _backend_doubt(options: LaunchOptions, attention: Mapping[str, object]) -> str:
    asked = _asked_backend(options, attention)
    return f"kvtop has no rules for the attention backend {asked}" if asked.startswith(_ELSEWHERE) else ""


def _attention_doubts(attention: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(f"kvtop has no rule for --attention-config {name}" for name in attention if name in _CHANGES_CACHE)


def _version(attention: Mapping[str, object]) -> int | None:
    value = attention.get("flash_attn_version")
    return value if isinstance(value, int) else None
