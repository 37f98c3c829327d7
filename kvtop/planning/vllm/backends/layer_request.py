"""What a layer asks of a backend (`AttentionSelectorConfig`, vLLM 0.32.0, `v1/attention/selector.py`)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MlaShape:
    """The dimensions of the model's latent attention that backends ask for."""

    qk_nope_head_dim: int = 1
    qk_rope_head_dim: int = 0
    v_head_dim: int = 0
    kv_lora_rank: int = 0
    has_index_topk: bool = False


@dataclass(frozen=True, slots=True)
class LayerRequest:
    """What one layer asks for. `block_size` None: the user set none. `q_heads` per rank."""

    head_size: int
    dtype: str
    cache_dtype: str
    block_size: int | None = None
    use_mla: bool = False
    has_sink: bool = False
    use_sparse: bool = False
    per_head_scales: bool = False
    attention_type: str = "decoder"
    sliding: bool = False
    q_heads: int | None = None
    mla: MlaShape = MlaShape()
