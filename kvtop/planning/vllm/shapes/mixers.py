"""What mixes tokens: attention, latent attention, and recurrent layers, as matrices.

Source: vLLM 0.32.0, `model_executor/models/*.py`, `layers/mla.py`, `layers/mamba`, compared with the parameters of the
classes that vLLM builds.
"""

from collections.abc import Callable

from kvtop.planning.vllm.models.cached_layers import CachedLayer, attention_heads, head_size, hidden_size
from kvtop.planning.vllm.models.config_view import ConfigView
from kvtop.planning.vllm.shapes.matrix import Cut, Matrix, small

_GATED_QUERIES = ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "qwen3_5", "qwen3_5_moe")
"""Classes whose query projection carries an output gate of the same size, unless `attn_output_gate` is false."""


def attention(view: ConfigView, cache: CachedLayer | None, index: int, query_heads: int | None = None) -> list[Matrix]:
    """Projections of an ordinary layer. `cache` None: a layer that reuses another's keys and values."""
    heads = query_heads or attention_heads(view)
    kv_heads = cache.kv_heads if cache is not None else 0
    size = cache.head_size if cache is not None else head_size(view)
    size_v = (cache.head_size_v if cache is not None else 0) or size
    width, at = hidden_size(view), f"layers.{index}.self_attn"
    queries = heads * size * (2 if _gates_queries(view) else 1)
    shares = view.flag("attention_k_eq_v") and cache is not None and cache.window is None
    return [
        Matrix(f"{at}.q_proj", queries, width, Cut.OUTPUT, index),
        Matrix(f"{at}.k_proj", kv_heads * size, width, Cut.KV, index, heads=kv_heads),
        # vLLM keeps a copy of the keys' matrix where values are the same.
        Matrix(f"{at}.v_proj", kv_heads * (size if shares else size_v), width, Cut.KV, index, heads=kv_heads),
        Matrix(f"{at}.o_proj", width, heads * size_v, Cut.INPUT, index),
    ]


def _gates_queries(view: ConfigView) -> bool:
    stated = view.raw("attn_output_gate")
    return bool(stated) if stated is not None else view.word("model_type") in _GATED_QUERIES


def latent_attention(view: ConfigView, index: int, *, has_indexer: bool) -> list[Matrix]:
    """MLA: low-rank projections whole on every rank, what unfolds them cut by heads."""
    heads, width, at = attention_heads(view), hidden_size(view), f"layers.{index}.self_attn"
    nope, rope = view.required("qk_nope_head_dim"), view.whole("qk_rope_head_dim") or 0
    rank, value = view.required("kv_lora_rank"), view.required("v_head_dim")
    query_rank = view.whole("q_lora_rank")
    found = [
        Matrix(f"{at}.kv_a_proj_with_mqa", rank + rope, width, Cut.WHOLE, index),
        Matrix(f"{at}.kv_b_proj", heads * (nope + value), rank, Cut.OUTPUT, index),
        Matrix(f"{at}.o_proj", width, heads * value, Cut.INPUT, index),
    ]
    if query_rank:
        found.append(Matrix(f"{at}.q_a_proj", query_rank, width, Cut.WHOLE, index))
        found.append(Matrix(f"{at}.q_b_proj", heads * (nope + rope), query_rank, Cut.OUTPUT, index))
    else:
        found.append(Matrix(f"{at}.q_proj", heads * (nope + rope), width, Cut.OUTPUT, index))
    # Once loaded, `kv_b_proj` is kept a second time, unfolded in the model's dtype (`mla_attention.py`, W_UV, W_UK_T).
    unfolded = Matrix(f"{at}.kv_b_unfolded", heads * (nope + value), rank, Cut.OUTPUT, index, is_linear=False)
    found.append(unfolded)
    if has_indexer:
        key, index_heads = view.required("index_head_dim"), view.whole("index_n_heads") or 64
        found.append(Matrix(f"{at}.indexer.wq_b", index_heads * key, query_rank or width, Cut.WHOLE, index))
        keys = Matrix(f"{at}.indexer.wk", key + index_heads, width, Cut.WHOLE, index, is_linear=False)
        found.append(keys)
    return found


def gated_delta(view: ConfigView, index: int) -> list[Matrix]:
    """Gated delta net: Qwen3-Next and after."""
    at, width = f"layers.{index}.linear_attn", hidden_size(view)
    keys = view.required("linear_num_key_heads") * view.required("linear_key_head_dim")
    value_heads = view.required("linear_num_value_heads")
    values = value_heads * view.required("linear_value_head_dim")
    kernel = view.required("linear_conv_kernel_dim")
    return [
        Matrix(f"{at}.in_proj_qkv", 2 * keys + values, width, Cut.OUTPUT, index),
        Matrix(f"{at}.in_proj_z", values, width, Cut.OUTPUT, index),
        Matrix(f"{at}.in_proj_ba", 2 * value_heads, width, Cut.OUTPUT, index),
        Matrix(f"{at}.conv1d", 2 * keys + values, kernel, Cut.OUTPUT, index, is_linear=False),
        Matrix(f"{at}.out_proj", width, values, Cut.INPUT, index),
    ]


def mamba2(view: ConfigView, index: int) -> list[Matrix]:
    """Mamba-2, under any of the names that the families use."""
    at, width = f"layers.{index}.mixer", hidden_size(view)
    heads = view.whole("mamba_n_heads", "mamba_num_heads", "n_mamba_heads", "num_heads") or 1
    size = view.whole("mamba_d_head", "mamba_head_dim", "mamba_headdim", "head_dim") or 1
    stated = view.whole("mamba_d_ssm")
    inner = stated or heads * size
    groups = view.whole("mamba_n_groups", "n_groups", "mamba_ngroups") or 1
    state = view.whole("mamba_d_state", "ssm_state_size", "state_size") or 0
    kernel = view.whole("mamba_d_conv", "conv_kernel") or 4
    convolved = inner + 2 * groups * state
    return [
        Matrix(f"{at}.in_proj", inner + convolved + heads, width, Cut.OUTPUT, index),
        Matrix(f"{at}.conv1d", convolved, kernel, Cut.OUTPUT, index, is_linear=False),
        Matrix(f"{at}.out_proj", width, inner, Cut.INPUT, index),
    ]


def mamba1(view: ConfigView, index: int) -> list[Matrix]:
    """Mamba-1: Jamba, Mamba, Falcon-Mamba."""
    at, width = f"layers.{index}.mamba", hidden_size(view)
    inner = view.whole("intermediate_size") if view.whole("mamba_expand") is None else None
    inner = inner or (view.whole("mamba_expand", "expand") or 2) * width
    state = view.whole("mamba_d_state", "state_size") or 16
    rank = view.whole("mamba_dt_rank", "time_step_rank") or -(-width // 16)
    return [
        Matrix(f"{at}.in_proj", 2 * inner, width, Cut.OUTPUT, index),
        Matrix(f"{at}.x_proj", rank + 2 * state, inner, Cut.INPUT, index),
        Matrix(f"{at}.dt_proj", inner, rank, Cut.OUTPUT, index),
        Matrix(f"{at}.A_log", inner, state, Cut.OUTPUT, index, is_linear=False, element_bytes=4),
        Matrix(f"{at}.out_proj", width, inner, Cut.INPUT, index),
    ]


def short_convolution(view: ConfigView, index: int) -> list[Matrix]:
    """LFM2."""
    at, width = f"layers.{index}.conv", hidden_size(view)
    inner = view.whole("conv_dim") or width
    return [
        Matrix(f"{at}.in_proj", 3 * inner, width, Cut.OUTPUT, index),
        Matrix(f"{at}.out_proj", width, inner, Cut.INPUT, index),
    ]


def kimi_delta(view: ConfigView, index: int) -> list[Matrix]:
    """Kimi delta attention: heads of `linear_attn_config`, and two low-rank gates."""
    at, width = f"layers.{index}.self_attn", hidden_size(view)
    linear = view.part("linear_attn_config")
    heads, size = linear.get("num_heads"), linear.get("head_dim")
    if not isinstance(heads, int) or not isinstance(size, int):
        return []
    inner = heads * size
    return [
        Matrix(f"{at}.qkv_proj", 3 * inner, width, Cut.OUTPUT, index),
        Matrix(f"{at}.f_g_a_proj", 2 * size, width, Cut.WHOLE, index),
        Matrix(f"{at}.f_g_b_proj", 2 * inner, size, Cut.OUTPUT, index),
        Matrix(f"{at}.b_proj", heads, width, Cut.OUTPUT, index),
        Matrix(f"{at}.o_proj", width, inner, Cut.INPUT, index),
    ]


def compressed_attention(view: ConfigView, index: int, ratio: int) -> list[Matrix]:
    """DeepSeek V4: low-rank queries and outputs, one key for all heads, and compressors where rows are joined."""
    at, width, heads = f"layers.{index}.self_attn", hidden_size(view), attention_heads(view)
    size, query_rank = view.required("head_dim"), view.required("q_lora_rank")
    groups, out_rank = view.required("o_groups"), view.required("o_lora_rank")
    streams = view.whole("hc_mult") or 1
    found = [
        Matrix(f"{at}.wq_a", query_rank, width, Cut.WHOLE, index),
        Matrix(f"{at}.wkv", size, width, Cut.WHOLE, index),
        Matrix(f"{at}.wq_b", heads * size, query_rank, Cut.OUTPUT, index),
        Matrix(f"{at}.wo_a", groups * out_rank, heads * size // groups, Cut.OUTPUT, index),
        Matrix(f"{at}.wo_b", width, groups * out_rank, Cut.INPUT, index),
        small(f"layers.{index}.hc", 2 * (2 + streams) * streams * streams * width, index, element_bytes=4),
    ]
    if ratio > 1:
        both = 2 if ratio == 4 else 1
        found.append(Matrix(f"{at}.compressor", 2 * both * size, width, Cut.WHOLE, index, is_linear=False))
    if ratio == 4:
        key, index_heads = view.required("index_head_dim"), view.required("index_n_heads")
        found.append(Matrix(f"{at}.indexer.wq_b", index_heads * key, query_rank, Cut.WHOLE, index))
        found.append(Matrix(f"{at}.indexer.compressor", 4 * key, width, Cut.WHOLE, index, is_linear=False))
    return found


def block_picker(view: ConfigView, index: int) -> list[Matrix]:
    """MiniMax M3: queries and a key with which a layer picks the blocks that it reads."""
    sparse, width = view.part("sparse_attention_config"), hidden_size(view)
    heads, size = sparse.get("sparse_num_index_heads"), sparse.get("sparse_index_dim")
    if not isinstance(heads, int) or not isinstance(size, int):
        return []
    return [Matrix(f"layers.{index}.self_attn.index_proj", (heads + 1) * size, width, Cut.WHOLE, index)]


RECURRENT: tuple[tuple[str, Callable[[ConfigView, int], list[Matrix]]], ...] = (
    ("linear_num_value_heads", gated_delta),
    ("linear_attn_config", kimi_delta),
    ("conv_L_cache", short_convolution),
    ("mamba_d_head", mamba2),
    ("mamba_head_dim", mamba2),
    ("mamba_headdim", mamba2),
    ("n_groups", mamba2),
)
"""Which kind of state a model has, by a key that only its configuration has."""


def recurrent(view: ConfigView, index: int) -> list[Matrix]:
    """The matrices of a layer that keeps recurrent state; Mamba-1 where nothing else is named."""
    found = next((build for key, build in RECURRENT if view.raw(key) is not None), mamba1)
    return found(view, index)


def norms(view: ConfigView, index: int) -> Matrix:
    """Two vectors of the model's width, which is what nearly all layers have."""
    return small(f"layers.{index}.norm", 2 * hidden_size(view), index)
