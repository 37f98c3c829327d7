"""One launch of one model: its layers on a rank, and everything that backends are chosen by."""

from dataclasses import dataclass, replace

from kvtop.domain.plan import NoExactRuleError, PlanDevice
from kvtop.planning.vllm.backends.assignment import AssignTerms
from kvtop.planning.vllm.backends.block_size import RankShape
from kvtop.planning.vllm.backends.cuda import CUDA_BACKENDS, TRITON_ATTN, AttentionBackend
from kvtop.planning.vllm.backends.flash_attention import AttentionCard, is_supported
from kvtop.planning.vllm.backends.layer_request import MlaShape
from kvtop.planning.vllm.dtypes import TURBOQUANT_BITS
from kvtop.planning.vllm.models.architectures import Architecture, architecture_of, draft_architecture
from kvtop.planning.vllm.models.cached_layers import (
    BuildTerms,
    CachedLayer,
    attention_heads,
    check_layers,
    layer_count,
    total_kv_heads,
)
from kvtop.planning.vllm.models.config_view import ConfigView
from kvtop.planning.vllm.models.drafts import NO_DRAFT, Draft, OwnDraft, draft_of
from kvtop.planning.vllm.models.known_fields import refuse_unknown
from kvtop.planning.vllm.models.model_facts import (
    cache_dtype,
    model_dtype,
    per_head_scales,
    rank_head_size,
    without_windows,
)
from kvtop.planning.vllm.options.settings import ServeSettings
from kvtop.planning.vllm.specs.layer_specs import SpecKind
from kvtop.planning.vllm.start_checks import refuse_cache_dtype, refuse_dtype, refuse_parallel


@dataclass(frozen=True, slots=True)
class Run:
    """`config` is the model as vLLM sees it: without windows where they are switched off."""

    name: str
    architecture: Architecture
    config: ConfigView
    layers: tuple[CachedLayer, ...]
    whole_layers: tuple[CachedLayer, ...]
    """As `layers`, on one rank that holds all heads."""
    terms: AssignTerms
    prefix_caching: bool
    is_hybrid: bool
    draft: Draft = NO_DRAFT
    doubt: str = ""
    """Why the whole plan is an estimate, "" where it is not."""


def run_of(
    config: ConfigView,
    settings: ServeSettings,
    device: PlanDevice,
    max_model_len: int,
    draft_config: ConfigView | None = None,
) -> Run:
    """The layers and the terms of this launch.

    Raises:
        RefusedError: vLLM would not start.
        NoExactRuleError: kvtop has no rule for the model, the card or an option.
    """
    name, architecture = architecture_of(config)
    refuse_unknown(config)
    doubt = ""
    if device.compute_api == "rocm":
        device = replace(device, compute_capability=_ROCM_AS)
        doubt = "kvtop has no rules for vLLM on ROCm: those of CUDA stand in"
    elif device.compute_api != "cuda" or device.compute_capability is None:
        raise NoExactRuleError("kvtop knows vLLM's rules for CUDA cards only; give the card as cc=MAJOR.MINOR")
    capability = device.compute_capability or _ROCM_AS
    if config.whole("sliding_window") == 0 or not settings.sliding_window:
        config = without_windows(config)
    stored = cache_dtype(config, settings.cache_dtype, name, capability)
    dtype = model_dtype(config, settings.dtype, capability)
    refuse_dtype(config, dtype)
    use_mla = config.whole("kv_lora_rank") is not None and architecture.is_latent
    refuse_parallel(config, settings, architecture, use_mla=use_mla)
    build = BuildTerms(
        settings.tp_size, dtype, settings.mamba_cache_dtype, settings.mamba_ssm_cache_dtype, settings.draft_tokens
    )
    layers = architecture.build(config, build)
    whole_layers = layers if settings.tp_size == 1 else architecture.build(config, replace(build, tp_size=1))
    draft = draft_of(settings.speculation, config, layers, whole_layers, _own_draft(draft_config, build))
    layers += draft.layers
    check_layers(layers)
    if any(layer.fixed is not None for layer in layers) and stored not in _PACKED_ROWS:
        raise NoExactRuleError(f"--kv-cache-dtype {stored}: kvtop has rules of this model class for fp8 rows only")
    is_hybrid = architecture.is_hybrid and any(layer.kind is SpecKind.MAMBA for layer in layers)
    refuse_cache_dtype(config, stored, settings.rules, use_mla=use_mla, is_hybrid=is_hybrid)
    prefix_caching = settings.prefix_caching
    if prefix_caching is None:
        prefix_caching = not (architecture.attention_free or architecture.encoder_decoder)
    override, forced = _overrides(name, settings, stored, capability, layers)
    card = AttentionCard(
        capability,
        device.product or device.name,
        stored,
        override,
        soft_capped=bool(config.raw("attn_logit_softcapping")),
        mm_prefix=architecture.mm_prefix and not settings.language_model_only,
        dcp=settings.dcp_size > 1,
        rules=settings.rules,
    )
    keeps_state = architecture.attention_free or is_hybrid
    terms = AssignTerms(
        card,
        _shape(config, settings, layers, dtype, use_mla=use_mla, is_hybrid=is_hybrid),
        _mla_shape(config) if use_mla else MlaShape(),
        stored,
        _skip_layers(settings, stored, layers, config, is_hybrid=is_hybrid),
        settings.block_size,
        forced,
        per_head_scales(config),
        max_model_len if keeps_state and not prefix_caching else None,
    )
    return Run(name, architecture, config, layers, whole_layers, terms, prefix_caching, is_hybrid, draft, doubt)


def _own_draft(config: ConfigView | None, build: BuildTerms) -> OwnDraft | None:
    if config is None:
        return None
    terms = replace(build, draft_tokens=0)
    found = draft_architecture(config)
    return OwnDraft(config, found.build(config, terms), found.build(config, replace(terms, tp_size=1)))


def _shape(
    config: ConfigView,
    settings: ServeSettings,
    layers: tuple[CachedLayer, ...],
    dtype: str,
    *,
    use_mla: bool,
    is_hybrid: bool,
) -> RankShape:
    state = max((layer.state_bytes for layer in layers), default=0)
    if all(layer.kind is SpecKind.MAMBA for layer in layers):
        return RankShape(1, 1, 0, dtype, use_mla=False, is_hybrid=False, state_bytes=state)
    return RankShape(
        kv_heads=1 if use_mla else max(1, total_kv_heads(config) // settings.tp_size),
        q_heads=attention_heads(config) // settings.tp_size,
        head_size=rank_head_size(config, use_mla=use_mla),
        model_dtype=dtype,
        use_mla=use_mla,
        is_hybrid=is_hybrid,
        state_bytes=state,
    )


def _mla_shape(config: ConfigView) -> MlaShape:
    return MlaShape(
        config.whole("qk_nope_head_dim") or 0,
        config.whole("qk_rope_head_dim") or 0,
        config.whole("v_head_dim") or 0,
        config.whole("kv_lora_rank") or 0,
        has_index_topk=config.whole("index_topk") is not None,
    )


def _skip_layers(
    settings: ServeSettings, stored: str, layers: tuple[CachedLayer, ...], config: ConfigView, *, is_hybrid: bool
) -> tuple[str, ...]:
    """Layers kept at the model's dtype: as asked, and TurboQuant's first and last two on models without state."""
    skips = set(settings.skip_layers)
    if _is_packed(stored) and not is_hybrid and layers:
        count = layer_count(config)
        edge = min(2, count // 2)
        skips |= {str(index) for index in (*range(edge), *range(count - edge, count))}
    return tuple(sorted(skips))


def _is_packed(stored: str) -> bool:
    return stored in TURBOQUANT_BITS or stored == "ultraquant_4bit"


_ROCM_AS = (9, 0)
"""The capability whose rules stand in for ROCm cards: FP8 and sinks are there, blocks are those of all platforms."""
_PACKED_ROWS = ("auto", "fp8", "fp8_e4m3", "fp8_ds_mla")
"""Cache types with which compressed attention keeps its packed rows."""
_GEMMA_4 = ("Gemma4ForCausalLM", "Gemma4ForConditionalGeneration")


def _overrides(
    name: str, settings: ServeSettings, stored: str, capability: tuple[int, int], layers: tuple[CachedLayer, ...]
) -> tuple[int | None, AttentionBackend | None]:
    """The FlashAttention version and the backend that the command line or the model class force."""
    forced: AttentionBackend | None = None
    if settings.attention_backend is not None:
        if settings.attention_backend not in CUDA_BACKENDS:
            raise NoExactRuleError(f"--attention-backend {settings.attention_backend}: not known to kvtop")
        if settings.attention_backend in settings.rules.lacks_backends:
            raise NoExactRuleError(
                f"--attention-backend {settings.attention_backend}: {settings.rules.name} does not have it"
            )
        forced = CUDA_BACKENDS[settings.attention_backend]
    if _is_packed(stored):
        return 2, forced
    sizes = {layer.head_size for layer in layers}
    if name in _GEMMA_4 and len(sizes) > 1:
        if not is_supported(4, AttentionCard(capability)) or max(sizes) > 512:
            return settings.flash_attn_version, forced or TRITON_ATTN
        if settings.flash_attn_version is None and (forced is None or forced.name == "FLASH_ATTN"):
            return (None if capability[0] == 9 and stored.startswith("fp8") else 4), forced
    return settings.flash_attn_version, forced
