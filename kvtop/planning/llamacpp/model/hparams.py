"""The hyperparameters of a GGUF model as llama.cpp holds them after loading (src/llama-hparams.h, b11434)."""

from dataclasses import dataclass

from kvtop.planning.llamacpp.rules.build_rules import BuildRules
from kvtop.planning.llamacpp.rules.traits import ModelTraits


@dataclass(frozen=True, slots=True)
class HParams:
    """Per-layer tuples have `n_layer_all` entries; names follow `llama_hparams` so that the source can be compared.

    All lengths count elements, not bytes. Zero means what it means in the engine: absent.
    """

    traits: ModelTraits
    """What is known of the architecture."""
    build: BuildRules
    """What is known of the build that loads it."""
    n_vocab: int
    n_ctx_train: int
    n_embd: int
    n_embd_out: int
    n_layer_all: int
    """Every block of the file, multi-token-prediction blocks included."""
    n_layer_nextn: int
    n_head: tuple[int, ...]
    n_head_kv: tuple[int, ...]
    n_ff: tuple[int, ...]
    n_ff_exp: tuple[int, ...]
    n_expert: int
    n_expert_used: tuple[int, ...]
    normalises_experts: bool
    """The shares of the chosen experts are divided by their sum, if the architecture leaves that to the file."""
    scales_experts: bool
    """… and multiplied by a constant."""
    n_embd_head_k: tuple[int, ...]
    """Key length of one head, already the sliding-window value on sliding-window layers."""
    n_embd_head_v: tuple[int, ...]
    is_swa: tuple[bool, ...]
    is_recurrent: tuple[bool, ...]
    n_swa: int = 0
    swa_type: str = "none"
    """"none", "standard", "chunked" or "symmetric"."""
    n_layer_kv_from_start: int = -1
    """When not negative, only so many first layers own a cache; the others reuse it."""
    n_embd_head_k_mla: int = 0
    n_embd_head_v_mla: int = 0
    n_lora_q: int = 0
    n_lora_kv: int = 0
    n_rot: int = 0
    n_ff_shexp: int = 0
    n_expert_shared: int = 0
    n_layer_dense_lead: int = 0
    n_embd_r: int = 0
    """Elements of rolling (convolution or token-shift) state of one recurrent layer and row."""
    n_embd_s: int = 0
    ssm_d_conv: int = 0
    ssm_d_inner: int = 0
    ssm_d_state: int = 0
    ssm_dt_rank: int = 0
    ssm_n_group: int = 0
    indexer_n_head: int = 0
    indexer_head_size: int = 0
    indexer_top_k: int = 0
    indexer_row_slots: int = 1
    """Head-size slots of one cached indexer row (pooled indexers keep key, gate and pooled key)."""
    is_indexer_full: tuple[bool, ...] = ()
    """Whether the layer owns an indexer; empty without one."""
    compress_ratios: tuple[int, ...] = ()
    """DeepSeek V4: tokens per cell of the layer's compressed cache, 0 without one; empty elsewhere."""
    n_embd_per_layer: int = 0
    causal_attn: bool = True
    use_alibi: bool = False
    n_weight_layers: int = 0
    """Blocks that own tensors: fewer than `n_layer_all` where blocks run several times (Nanbeige)."""
    f_attn_logit_softcapping: float = 0.0
    """0 where the architecture does not cap attention scores."""
    pooling_type: int = 0

    @property
    def arch(self) -> str:
        """`general.architecture` of the file."""
        return self.traits.name

    @property
    def n_layer(self) -> int:
        """Blocks of the trunk: `n_layer_all` without the multi-token-prediction blocks."""
        return self.n_layer_all - self.n_layer_nextn

    @property
    def is_mla(self) -> bool:
        """Multi-head latent attention: one compressed key row per token and no value row."""
        return self.n_embd_head_k_mla != 0 and self.n_embd_head_v_mla != 0

    def n_embd_k_gqa(self, layer: int) -> int:
        """Elements of a key row of that layer."""
        return self.n_embd_head_k[layer] * self.n_head_kv[layer]

    def n_embd_v_gqa(self, layer: int) -> int:
        """Elements of a value row of that layer."""
        return self.n_embd_head_v[layer] * self.n_head_kv[layer]

    @property
    def n_embd_v_gqa_max(self) -> int:
        """The widest value row over all blocks: what a transposed (no flash attention) V cache is padded to."""
        return max(self.n_embd_v_gqa(layer) for layer in range(self.n_layer_all))

    def has_kv(self, layer: int) -> bool:
        """Whether the layer owns a cache (Gemma 3n and 4 share one between their last layers)."""
        return self.n_layer_kv_from_start < 0 or layer < self.n_layer_kv_from_start

    def cache_layer(self, layer: int) -> int:
        """The layer whose cache this one reads: of those that own none, the last owner of the same kind."""
        return layer if self.has_kv(layer) else self.n_layer_kv_from_start - (2 if self.is_swa[layer] else 1)
