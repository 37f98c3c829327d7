"""What llama.cpp makes of the context options (`llama_context::llama_context`, src/llama-context.cpp, b11434)."""

from dataclasses import dataclass

from kvtop.planning.llamacpp.model.hparams import HParams
from kvtop.planning.llamacpp.options.settings import PINNED_CONTEXT, LlamaSettings
from kvtop.planning.llamacpp.rules.build_rules import BuildRules

_PAD_TOKENS = 256
_PER_SLOT_RULES = BuildRules()
"""Every build with `--kv-unified-per-slot` opens as many slots as the newest."""
_WORD = 2**32
"""`llama_context_params` counts in uint32_t: the engine takes `-c -256` for 4294967040 (common/common.cpp)."""
_ROLLED_BACK = frozenset({"draft-mtp", "draft-eagle3", "draft-dflash", "draft-dspark"})
_DRAFTED = _ROLLED_BACK | {"draft-simple"}
_NGRAM_TOKENS = {"ngram-simple": 48, "ngram-map-k": 48, "ngram-map-k4v": 48, "ngram-mod": 64, "ngram-cache": 8}
"""Longest drafts of the lookup methods by default (common/common.h)."""


@dataclass(frozen=True, slots=True)
class ResolvedContext:
    """Effective values, as the log lines of `llama_context` print them. Counts of tokens, cells or sequences."""

    n_ctx: int
    n_ctx_seq: int
    """Cells of one stream."""
    n_seq_max: int
    kv_unified: bool
    n_stream: int
    n_batch: int
    n_ubatch: int
    n_outputs_max: int
    n_rs_seq: int
    flash_attention: bool
    type_k: str
    type_v: str
    swa_cells: int
    """Cells of one stream of a sliding-window cache; `n_ctx_seq` with `--swa-full`, 0 without such layers."""
    embeddings: bool = False
    slot_cells: int = 0
    """The most cells that one slot may fill: before streams, its share of the pool."""


@dataclass(frozen=True, slots=True)
class ContextRequest:
    """What llama-server asks libllama for, its own defaults applied (tools/server/server.cpp, server-context.cpp)."""

    ctx_tokens: int
    n_seq_max: int
    kv_unified: bool
    n_batch: int
    n_ubatch: int
    n_outputs_max: int
    n_rs_seq: int
    swa_full: bool
    type_k: str
    type_v: str
    embeddings: bool = False
    padding_cells: int = _PAD_TOKENS


def request_of(settings: LlamaSettings, hparams: HParams) -> ContextRequest:
    """The target model's context. Automatic slots share one unified cache."""
    rules = hparams.build
    automatic = settings.parallel is None or settings.parallel < 0
    parallel = _slots(settings, rules)
    unified = not rules.has_streams or bool(settings.kv_unified) or (automatic and parallel > 1)
    ctx_tokens = context_given(settings)
    if ctx_tokens == 0 and settings.fit and not unified and settings.split_mode != "tensor":
        # `--fit` starts from the trained context for every stream; without it all of them share one (common/fit.cpp).
        ctx_tokens = min(hparams.n_ctx_train * sequences_apart(settings), _WORD - 1)
    # Embeddings need the whole batch in one micro-batch.
    batch = min(settings.batch_tokens, settings.ubatch_tokens) if settings.embeddings else settings.batch_tokens
    # server_output_limits (tools/server/server-context.cpp)
    outputs = (
        batch
        if settings.embeddings or settings.is_pooled or not rules.limits_outputs
        else max(1, min(batch, parallel * (1 + _longest_draft(settings))))
    )
    rolled_back = hparams.traits.rolls_back and not _ROLLED_BACK.isdisjoint(settings.speculative_types)
    return ContextRequest(
        ctx_tokens=ctx_tokens % _WORD,
        n_seq_max=max(1, parallel),
        kv_unified=unified,
        n_batch=batch % _WORD,
        n_ubatch=settings.ubatch_tokens % _WORD,
        n_outputs_max=outputs,
        n_rs_seq=settings.draft_max_tokens if rolled_back else 0,
        swa_full=settings.swa_full,
        type_k=settings.type_k,
        type_v=settings.type_v,
        embeddings=settings.embeddings,
        padding_cells=rules.padding_cells(settings.flash_attention if hparams.traits.fuses_attention else "off"),
    )


def _slots(settings: LlamaSettings, rules: BuildRules) -> int:
    automatic = settings.parallel is None or settings.parallel < 0
    return rules.automatic_slots if automatic else settings.parallel or 0


def context_given(settings: LlamaSettings) -> int:
    """`-c`, or what `--kv-unified-per-slot` makes of all slots; 0 where neither was given (tools/server/server.cpp)."""
    per_slot = settings.kv_unified_per_slot_tokens or 0
    if per_slot > 0 and settings.ctx_tokens == 0 and settings.fit_ctx_tokens != PINNED_CONTEXT:
        return _slots(settings, _PER_SLOT_RULES) * per_slot
    return settings.ctx_tokens


def sequences_apart(settings: LlamaSettings) -> int:
    """How many sequences have cells of their own: `--fit` gives each the trained context, or `--fit-ctx` at least."""
    automatic = settings.parallel is None or settings.parallel < 0
    return 1 if automatic or settings.kv_unified else max(1, settings.parallel or 0)


def _longest_draft(settings: LlamaSettings) -> int:
    """`common_speculative_n_max` (common/speculative.cpp): without `--spec-type` a draft model counts nothing."""
    return max(
        (
            settings.draft_max_tokens if name in _DRAFTED else _NGRAM_TOKENS.get(name, 0)
            for name in settings.speculative_types
        ),
        default=0,
    )


def resolve_context(request: ContextRequest, hparams: HParams, flash_attention: bool) -> ResolvedContext:
    """Padding and rounding: `n_ctx` to 256 cells, and to whole streams when every sequence has its own.

    Before cells were always rounded, streams were made first, of whole cells, and then rounded (`create_memory`).
    """
    rules, padding = hparams.build, request.padding_cells
    asked = request.ctx_tokens or hparams.n_ctx_train
    batch = min(asked, request.n_batch) if hparams.causal_attn else request.n_batch
    ubatch = min(batch, request.n_ubatch or request.n_batch)
    n_ctx = padded(asked, padding)
    n_ctx_seq, streams = n_ctx, 1
    if not request.kv_unified:
        streams = request.n_seq_max
        n_ctx_seq = padded(n_ctx // streams if rules.cell_padding == "always" else -(-asked // streams), padding)
        n_ctx = n_ctx_seq * streams
        if hparams.traits.is_hybrid and rules.repeats_hybrid_cells:
            n_ctx = n_ctx_seq = padded(asked, padding)
    swa_cells = 0
    if hparams.swa_type != "none":
        # DeepSeek V4 keeps a stream per sequence even in a unified pool.
        shared = request.kv_unified and not hparams.traits.compressed
        window = hparams.n_swa * (request.n_seq_max if shared else 1)
        beside = {"micro_batch": ubatch, "batch": batch, "all": n_ctx_seq}[rules.window_cells]
        swa_cells = n_ctx_seq if request.swa_full else min(n_ctx_seq, padded(window + beside, padding))
    return ResolvedContext(
        n_ctx=n_ctx,
        n_ctx_seq=n_ctx_seq,
        n_seq_max=request.n_seq_max,
        kv_unified=request.kv_unified,
        n_stream=streams,
        n_batch=batch,
        n_ubatch=ubatch,
        n_outputs_max=request.n_outputs_max,
        n_rs_seq=request.n_rs_seq,
        flash_attention=flash_attention,
        type_k=request.type_k,
        type_v=request.type_v,
        swa_cells=swa_cells,
        embeddings=request.embeddings,
        slot_cells=n_ctx_seq if rules.has_streams else n_ctx // request.n_seq_max,
    )


def padded(tokens: int, to: int = _PAD_TOKENS) -> int:
    """`GGML_PAD(tokens, 256)`, without the wrap to 0 of the last 255 values below 2^32: `context_refusal` has those."""
    return -(-tokens // to) * to
