"""From effective launch options to the typed settings that the memory rules read (llama.cpp b11434)."""

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import Refusal
from kvtop.planning.llamacpp.options.overrides import csv_fields
from kvtop.planning.llamacpp.options.settings import (
    CACHE_RAM_MIB,
    CTX_CHECKPOINTS,
    PINNED_CONTEXT,
    DraftSettings,
    LlamaSettings,
)
from kvtop.planning.llamacpp.options.values import BadValueError, real, split_list, whole
from kvtop.planning.llamacpp.rules.build_rules import BuildRules
from kvtop.planning.llamacpp.rules.ranges import rules_for

_MIB = 1024 * 1024


def settings_of(options: LaunchOptions) -> LlamaSettings | Refusal:
    """The settings, or the engine's first complaint about the command line."""
    if options.errors:
        return Refusal("llama.cpp", options.errors[0])
    try:
        return _settings(options)
    except BadValueError as error:  # out of a recording: the engine's parser lets no such value through
        return Refusal("llama.cpp", str(error))


def _settings(options: LaunchOptions) -> LlamaSettings | Refusal:
    value, rules = options.value, rules_for(options.engine_version, options.borrowed_rules)
    parallel = _integer(value("parallel"))
    if parallel is not None and (parallel < 0 or (parallel == 1 and _is_alone_automatic(options, rules))):
        parallel = None
    # 0 is a value too: no batch at all, and a micro-batch as large as the batch.
    batch, ubatch = _integer(value("batch-size")), _integer(value("ubatch-size"))
    fit_target = tuple(whole(item, "stoull", 64) * _MIB for item in _items(value("fit-target"))) or (1024 * _MIB,)
    tensor_split = tuple(real(item) for item in _items(value("tensor-split")))
    overrides = _overrides(value("override-tensor"))
    if isinstance(overrides, Refusal):
        return overrides
    ctx_tokens = _integer(value("ctx-size"))
    gpu_layers = rules.gpu_layers_by_default if value("gpu-layers") is None else _layers(value("gpu-layers"))
    draft = _draft(options)
    if isinstance(draft, Refusal):
        return draft
    return LlamaSettings(
        model_path=value("model"),
        ctx_tokens=rules.ctx_by_default_tokens if ctx_tokens is None else ctx_tokens,
        parallel=parallel,
        kv_unified=_switch(value("kv-unified")),
        kv_unified_per_slot_tokens=_integer(value("kv-unified-per-slot")),
        batch_tokens=2048 if batch is None else batch,
        ubatch_tokens=512 if ubatch is None else ubatch,
        type_k=value("cache-type-k") or "f16",
        type_v=value("cache-type-v") or "f16",
        flash_attention=value("flash-attn") or rules.flash_attention_by_default,
        swa_full=_switch(value("swa-full")) or False,
        kv_offload=_switch(value("kv-offload")) is not False,
        gpu_layers=gpu_layers,
        split_mode=value("split-mode") or "layer",
        tensor_split=tensor_split,
        main_gpu=_integer(value("main-gpu")) or 0,
        tensor_overrides=overrides,
        cpu_moe=_switch(value("cpu-moe")) or False,
        cpu_moe_layers=_integer(value("n-cpu-moe")) or 0,
        cpu_ffn_layers=_integer(value("n-cpu-ffn")) or 0,
        fit=rules.fits and value("fit") != "off",
        fit_target_bytes=fit_target,
        fit_ctx_tokens=_fit_context(options),
        embeddings=_switch(value("embedding")) or _switch(value("rerank")) or False,
        is_pooled=value("pooling") not in {None, "none"},
        repack=_switch(value("repack")) is not False,
        no_host=_switch(value("no-host")) or False,
        op_offload=_switch(value("op-offload")) is not False,
        load_mode=value("load-mode") or "auto",
        devices=() if value("device") is None else tuple((value("device") or "").split(",")),
        speculative_types=tuple(kind for kind in _words(value("spec-type")) if kind != "none"),
        draft_max_tokens=_integer(value("spec-draft-n-max")) or 3,
        draft_type_k=value("spec-draft-type-k") or "f16",
        draft_type_v=value("spec-draft-type-v") or "f16",
        draft=draft,
        mmproj_path=value("mmproj"),
        mmproj_offload=_switch(value("mmproj-offload")) is not False,
        mmproj_device=value("mmproj-device"),
        lora_paths=_adapters(options),
        has_control_vector=bool(value("control-vector") or value("control-vector-scaled")),
        cache_ram_mib=_or_default(_integer(value("cache-ram")), CACHE_RAM_MIB),
        ctx_checkpoints=_or_default(_integer(value("ctx-checkpoints")), CTX_CHECKPOINTS),
    )


def _is_alone_automatic(options: LaunchOptions, rules: BuildRules) -> bool:
    drafts = options.value("spec-draft-model") is not None
    return rules.one_slot_is_automatic and options.value("kv-unified") != "true" and not drafts


def _fit_context(options: LaunchOptions) -> int:
    """`--fit-ctx`. A `-c 0` behind it forbids to shrink the context: of the two, the later counts (common/arg.cpp)."""
    order = [option.name for option in options.options if option.name in {"ctx-size", "fit-ctx"}]
    if options.value("ctx-size") == "0" and order[-1] == "ctx-size":
        return PINNED_CONTEXT
    least = _integer(options.value("fit-ctx"))
    return 4096 if least is None else least % 2**32


def _draft(options: LaunchOptions) -> DraftSettings | Refusal | None:
    path = options.value("spec-draft-model")
    if path is None:
        return None
    overrides = _overrides(options.value("spec-draft-override-tensor"))
    if isinstance(overrides, Refusal):
        return overrides
    devices = options.value("spec-draft-device")
    return DraftSettings(
        model_path=path,
        type_k=options.value("spec-draft-type-k") or "f16",
        type_v=options.value("spec-draft-type-v") or "f16",
        gpu_layers=_layers(options.value("spec-draft-ngl")),
        devices=() if devices is None else tuple(devices.split(",")),
        tensor_overrides=overrides,
        cpu_moe=_switch(options.value("spec-draft-cpu-moe")) or False,
        cpu_moe_layers=_integer(options.value("spec-draft-n-cpu-moe")) or 0,
    )


def _adapters(options: LaunchOptions) -> tuple[str, ...]:
    plain, scaled = options.value("lora"), options.value("lora-scaled")
    paths = [] if plain is None else csv_fields(plain)
    return (*paths, *(item.partition(":")[0] for item in ([] if scaled is None else csv_fields(scaled))))


def _overrides(value: str | None) -> tuple[tuple[str, str], ...] | Refusal:
    """`pattern=buffer[,pattern=buffer …]`, split at commas first (parse_tensor_buffer_overrides)."""
    pairs = []
    # Nothing is trimmed: a blank after the comma belongs to the next pattern.
    for item in (value or "").split(",") if value is not None else ():
        pattern, equals, buffer = item.partition("=")
        if not equals:
            return Refusal("llama.cpp", 'error while handling argument "-ot": invalid value')
        pairs.append((pattern, buffer))
    return tuple(pairs)


def _layers(value: str | None) -> int | None:
    if value in {None, "auto", "-1"}:
        return None
    return -2 if value == "all" else _integer(value)


def _integer(value: str | None) -> int | None:
    return None if value is None else whole(value, "stoi", 63)


def _or_default(value: int | None, default: int) -> int:
    return default if value is None else value


def _switch(value: str | None) -> bool | None:
    return None if value is None else value == "true"


def _words(value: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (value or "").split(",") if word.strip())


def _items(value: str | None) -> list[str]:
    return [] if value is None else split_list(value)
