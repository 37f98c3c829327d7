"""Model headers of the demo: real shapes of public models, written out so that no file is needed."""

from kvtop.domain.model_file import GgufHeader, MetadataValue, SkippedArray, TensorInfo

_TYPES = {"f32": (0, 1, 4), "q4_K": (12, 256, 144), "q6_K": (14, 256, 210)}


def _tensor(name: str, type_name: str, *shape: int) -> TensorInfo:
    type_id, block, block_bytes = _TYPES[type_name]
    values = 1
    for extent in shape:
        values *= extent
    return TensorInfo(name, type_id, type_name, shape, values // block * block_bytes)


def _header(path: str, metadata: dict[str, MetadataValue], tensors: list[TensorInfo]) -> GgufHeader:
    size_bytes = sum(tensor.size_bytes or 0 for tensor in tensors)
    return GgufHeader(path, 3, False, metadata, tuple(tensors), size_bytes, (path,))


def gemma3_27b(path: str) -> GgufHeader:
    """Gemma 3 27B, 4-bit: 62 layers, every sixth with full attention, the others in a window of 1024 tokens."""
    arch, layers, width, ffn, heads, kv_heads, head = "gemma3", 62, 5376, 21504, 32, 16, 128
    metadata: dict[str, MetadataValue] = {
        "general.architecture": arch,
        "general.name": "Gemma 3 27B Instruct",
        "general.file_type": 15,
        f"{arch}.context_length": 131072,
        f"{arch}.embedding_length": width,
        f"{arch}.block_count": layers,
        f"{arch}.feed_forward_length": ffn,
        f"{arch}.attention.head_count": heads,
        f"{arch}.attention.head_count_kv": kv_heads,
        f"{arch}.attention.key_length": head,
        f"{arch}.attention.value_length": head,
        f"{arch}.attention.sliding_window": 1024,
        f"{arch}.attention.layer_norm_rms_epsilon": 1e-6,
        "tokenizer.ggml.tokens": SkippedArray("str", 262144),
    }
    tensors = [_tensor("token_embd.weight", "q6_K", width, 262144), _tensor("output_norm.weight", "f32", width)]
    for index in range(layers):
        prefix = f"blk.{index}."
        tensors += [
            *(
                _tensor(f"{prefix}{name}.weight", "f32", width)
                for name in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
            ),
            *(_tensor(f"{prefix}{name}.weight", "f32", head) for name in ("attn_q_norm", "attn_k_norm")),
            _tensor(f"{prefix}attn_q.weight", "q4_K", width, heads * head),
            _tensor(f"{prefix}attn_k.weight", "q4_K", width, kv_heads * head),
            _tensor(f"{prefix}attn_v.weight", "q6_K", width, kv_heads * head),
            _tensor(f"{prefix}attn_output.weight", "q4_K", heads * head, width),
            _tensor(f"{prefix}ffn_gate.weight", "q4_K", width, ffn),
            _tensor(f"{prefix}ffn_up.weight", "q4_K", width, ffn),
            _tensor(f"{prefix}ffn_down.weight", "q4_K", ffn, width),
        ]
    return _header(path, metadata, tensors)


def llama31_8b(path: str) -> GgufHeader:
    """Llama 3.1 8B, 4-bit: 32 layers of grouped-query attention, all of them over the whole context."""
    arch, layers, width, ffn, heads, kv_heads, head, words = "llama", 32, 4096, 14336, 32, 8, 128, 128256
    metadata: dict[str, MetadataValue] = {
        "general.architecture": arch,
        "general.name": "Llama 3.1 8B Instruct",
        "general.file_type": 15,
        f"{arch}.context_length": 131072,
        f"{arch}.embedding_length": width,
        f"{arch}.block_count": layers,
        f"{arch}.feed_forward_length": ffn,
        f"{arch}.attention.head_count": heads,
        f"{arch}.attention.head_count_kv": kv_heads,
        f"{arch}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{arch}.rope.dimension_count": head,
        f"{arch}.vocab_size": words,
        "tokenizer.ggml.tokens": SkippedArray("str", words),
    }
    tensors = [
        _tensor("token_embd.weight", "q4_K", width, words),
        _tensor("output_norm.weight", "f32", width),
        _tensor("output.weight", "q6_K", width, words),
        _tensor("rope_freqs.weight", "f32", head // 2),
    ]
    for index in range(layers):
        prefix = f"blk.{index}."
        tensors += [
            _tensor(f"{prefix}attn_norm.weight", "f32", width),
            _tensor(f"{prefix}ffn_norm.weight", "f32", width),
            _tensor(f"{prefix}attn_q.weight", "q4_K", width, heads * head),
            _tensor(f"{prefix}attn_k.weight", "q4_K", width, kv_heads * head),
            _tensor(f"{prefix}attn_v.weight", "q6_K", width, kv_heads * head),
            _tensor(f"{prefix}attn_output.weight", "q4_K", heads * head, width),
            _tensor(f"{prefix}ffn_gate.weight", "q4_K", width, ffn),
            _tensor(f"{prefix}ffn_up.weight", "q4_K", width, ffn),
            _tensor(f"{prefix}ffn_down.weight", "q6_K", ffn, width),
        ]
    return _header(path, metadata, tensors)
