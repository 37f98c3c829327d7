"""From the metadata of a GGUF file to the hyperparameters that llama.cpp would hold.

Follows `llama_model_base::load_hparams` (src/llama-model.cpp, b11434) and the per-architecture functions behind it.
"""

from dataclasses import dataclass

from kvtop.domain.model_file import GgufHeader
from kvtop.domain.plan import MalformedModelError, NoExactRuleError
from kvtop.planning.llamacpp.model.hparams import HParams
from kvtop.planning.llamacpp.model.layers import recurrent_layers, sliding_window
from kvtop.planning.llamacpp.model.metadata import ArchitectureKeys, vocabulary_tokens
from kvtop.planning.llamacpp.rules.build_rules import BuildRules
from kvtop.planning.llamacpp.rules.ranges import NEWEST

_MAX_LAYERS = 512
_MAX_EXPERTS = 1024
_FULL_INDEXERS_FROM_CONTEXT = 1048576


@dataclass(frozen=True, slots=True)
class _Heads:
    """Head counts and lengths per layer."""

    n_head: tuple[int, ...]
    n_head_kv: tuple[int, ...]
    length_k: int
    length_v: int
    length_k_swa: int
    length_v_swa: int


def load_hparams(header: GgufHeader, rules: BuildRules = NEWEST) -> HParams:
    """The hyperparameters of this file, as a build with these rules reads it.

    Raises NoExactRuleError for an architecture without a rule, MalformedModelError for metadata that it would refuse.
    """
    arch = header.architecture
    if arch is None:
        raise MalformedModelError("the file does not name its architecture (general.architecture)")
    traits = rules.architectures.get(arch)
    if traits is None:
        raise NoExactRuleError(f"kvtop has no memory rule for llama.cpp architecture {arch!r}")
    keys = ArchitectureKeys(header, traits)
    if keys.integer("decision.block_count", 0) > 0:
        raise NoExactRuleError(f"kvtop has no memory rule for {arch} models with a decision head")
    blocks = keys.integer("block_count")
    nextn = keys.integer("nextn_predict_layers", 0)
    if traits.compressed and not _has_prediction_head(header, blocks - nextn):
        nextn = 0
    if not 0 < blocks <= _MAX_LAYERS or not 0 <= nextn <= blocks:
        raise MalformedModelError(f"{arch}.block_count {blocks} with {nextn} prediction blocks is out of range")
    n_embd = keys.integer("embedding_length")
    heads = _heads(keys, blocks, n_embd)
    n_ff = keys.per_layer("feed_forward_length", blocks)
    n_expert, n_expert_used = _experts(keys, blocks)
    loops = keys.integer("num_loops", 1) if traits.loops else 1
    n_layer_all = blocks * loops
    heads_kv, counts, n_ff = heads.n_head_kv * loops, heads.n_head * loops, n_ff * loops
    n_layer = n_layer_all - nextn
    recurrent = recurrent_layers(keys, n_layer, n_layer_all, heads_kv, n_ff)
    window = sliding_window(keys, n_layer, n_layer_all, recurrent)
    conv, inner, state, groups = (
        keys.integer(f"ssm.{name}", 0) for name in ("conv_kernel", "inner_size", "state_size", "group_count")
    )
    rolling, matrix = _recurrent_state(keys, n_embd, counts[0], heads.length_k)
    alibi = _has_alibi(keys, n_layer)
    pool = keys.integer("attention.indexer.kpool", 0) if traits.pooled_indexer else 0
    return HParams(
        traits=traits,
        build=rules,
        n_vocab=vocabulary_tokens(header),
        n_ctx_train=keys.integer("context_length"),
        n_embd=n_embd,
        n_embd_out=_output_length(keys, n_embd),
        n_layer_all=n_layer_all,
        n_weight_layers=blocks,
        n_layer_nextn=nextn,
        n_head=counts,
        n_head_kv=heads_kv,
        n_ff=n_ff,
        n_ff_exp=keys.per_layer("expert_feed_forward_length", blocks) * loops,
        n_expert=n_expert,
        n_expert_used=n_expert_used * loops,
        normalises_experts=bool(keys.integer("expert_weights_norm", 0)),
        scales_experts=keys.number("expert_weights_scale", 0.0) not in {0.0, 1.0},
        n_embd_head_k=tuple(heads.length_k_swa if swa else heads.length_k for swa in window.layers),
        n_embd_head_v=tuple(heads.length_v_swa if swa else heads.length_v for swa in window.layers),
        is_swa=window.layers,
        is_recurrent=recurrent,
        n_swa=window.tokens,
        swa_type=window.kind,
        n_layer_kv_from_start=_layers_with_cache(keys, n_layer_all),
        n_embd_head_k_mla=keys.integer("attention.key_length_mla", 0) if traits.latent else 0,
        n_embd_head_v_mla=keys.integer("attention.value_length_mla", 0) if traits.latent else 0,
        n_lora_q=keys.integer("attention.q_lora_rank", 0),
        n_lora_kv=keys.integer("attention.kv_lora_rank", 0),
        n_rot=keys.integer("rope.dimension_count", heads.length_k),
        n_ff_shexp=keys.integer("expert_shared_feed_forward_length", 0),
        n_expert_shared=keys.integer("expert_shared_count", 0),
        n_layer_dense_lead=keys.integer("leading_dense_block_count", 0),
        n_embd_r=rolling,
        n_embd_s=matrix,
        ssm_d_conv=conv,
        ssm_d_inner=inner,
        ssm_d_state=state,
        ssm_dt_rank=keys.integer("ssm.time_step_rank", 0),
        ssm_n_group=groups,
        indexer_n_head=keys.integer("attention.indexer.head_count", 0),
        indexer_head_size=keys.integer("attention.indexer.key_length", 0),
        indexer_top_k=keys.integer("attention.indexer.top_k", 0),
        indexer_row_slots=3 if pool > 0 else 1,
        is_indexer_full=_indexer_layers(keys, n_layer, n_layer_all),
        compress_ratios=_compress_ratios(keys, n_layer_all),
        n_embd_per_layer=keys.integer("embedding_length_per_layer_input", 0),
        causal_attn=traits.causal and bool(keys.integer("attention.causal", 1)),
        use_alibi=alibi,
        f_attn_logit_softcapping=keys.number("attn_logit_softcapping", traits.softcap) if traits.softcap else 0.0,
        pooling_type=keys.integer("pooling_type", 0),
    )


def _has_prediction_head(header: GgufHeader, first: int) -> bool:
    """DeepSeek V4 counts prediction blocks only when the file holds them."""
    probe = f"blk.{first}.nextn.eh_proj.weight"
    return any(tensor.name == probe for tensor in header.tensors)


def _output_length(keys: ArchitectureKeys, n_embd: int) -> int:
    if keys.traits.compressed:
        return keys.integer("hyper_connection.count") * n_embd
    return keys.integer("embedding_length_out", n_embd) or n_embd


def _compress_ratios(keys: ArchitectureKeys, n_layer_all: int) -> tuple[int, ...]:
    if not keys.traits.compressed:
        return ()
    ratios = keys.array("attention.compress_ratios") or ()
    if len(ratios) < n_layer_all:
        raise MalformedModelError("DeepSeek-V4 compress_ratios is shorter than block_count")
    return ratios[:n_layer_all]


def _experts(keys: ArchitectureKeys, blocks: int) -> tuple[int, tuple[int, ...]]:
    """How many experts there are, and how many each layer uses; with the engine's own checks."""
    count = keys.integer("expert_count", 0)
    used = keys.per_layer("expert_used_count", blocks)
    if count > _MAX_EXPERTS or max(used) > max(count, 1):
        raise MalformedModelError(f"{keys.arch}.expert_used_count {max(used)} of {count} experts is out of range")
    return count, used


def _heads(keys: ArchitectureKeys, blocks: int, n_embd: int) -> _Heads:
    n_head = keys.per_layer("attention.head_count", blocks)
    n_head_kv = keys.per_layer("attention.head_count_kv", blocks, default=n_head)
    if n_head[0] > 0:
        length_k = keys.integer("attention.key_length", n_embd // n_head[0])
        length_v = keys.integer("attention.value_length", n_embd // n_head[0])
    else:
        # Models without attention have no head length whatever the file says, unless it is read again afterwards.
        rereads = keys.traits.rereads_head_lengths
        length_k = keys.integer("attention.key_length", 0) if rereads else 0
        length_v = keys.integer("attention.value_length", 0) if rereads else 0
    if keys.traits.values_are_latent:
        length_v = keys.integer("attention.kv_lora_rank")
    return _Heads(
        n_head,
        n_head_kv,
        length_k,
        length_v,
        keys.integer("attention.key_length_swa", length_k),
        keys.integer("attention.value_length_swa", length_v),
    )


def _recurrent_state(keys: ArchitectureKeys, n_embd: int, n_head: int, length_k: int) -> tuple[int, int]:
    """`n_embd_r()` and `n_embd_s()` (src/llama-hparams.cpp): elements per recurrent layer and row."""
    conv = keys.integer("ssm.conv_kernel", 0)
    kept = keys.traits.state
    if kept == "rwkv":
        size = keys.integer("wkv.head_size")
        return keys.integer("token_shift_count", 2) * n_embd, n_embd * size
    inner, state = keys.integer("ssm.inner_size", 0), keys.integer("ssm.state_size", 0)
    if kept == "short_convolution":
        return n_embd * (keys.integer("shortconv.l_cache") - 1), state * inner
    if kept == "delta_attention":
        head = keys.integer("kda.head_dim")
        return 3 * (conv - 1 if conv > 0 else 3) * n_head * head, head * head * n_head
    if kept == "lightning":
        return 0, length_k * length_k * n_head
    groups = 0 if kept == "ungrouped" else keys.integer("ssm.group_count", 0)
    return max(conv - 1, 0) * (inner + 2 * groups * state), state * inner


def _layers_with_cache(keys: ArchitectureKeys, n_layer_all: int) -> int:
    if keys.traits.first_cached_layers is not None:
        return keys.traits.first_cached_layers
    if keys.traits.shares_last_caches:
        return n_layer_all - keys.integer("attention.shared_kv_layers", 0)
    return -1


def _indexer_layers(keys: ArchitectureKeys, n_layer: int, n_layer_all: int) -> tuple[bool, ...]:
    which = keys.traits.indexer
    if which in {"", "after_dense"}:
        return ()
    listed = "attention.indexer.types"
    if which == "every":
        flags = (True,) * n_layer
    elif which == "listed":
        flags = tuple(bool(entry) for entry in (keys.array(listed) or ())[:n_layer])
    elif keys.has(listed):
        flags = tuple(bool(entry) for entry in keys.per_layer(listed, n_layer))
    elif which == "typed_or_by_context" and keys.integer("context_length") >= _FULL_INDEXERS_FROM_CONTEXT:
        # GLM 5.2 without the key: the first two layers, then one in four.
        flags = tuple(layer < 2 or (layer - 2) % 4 == 0 for layer in range(n_layer))
    else:
        flags = (which != "typed",) * n_layer
    return flags + (False,) * (n_layer_all - len(flags))


def _has_alibi(keys: ArchitectureKeys, n_layer: int) -> bool:
    when = keys.traits.alibi
    if when == "of_40_layers":
        return n_layer == 40
    return when == "always" or (when == "by_key" and keys.number("attention.max_alibi_bias", 0.0) > 0)
