"""A tiny Llama checkpoint as headers only, for tests of engines that read Hugging Face directories."""

import math

from kvtop.domain.model_file import Checkpoint, CheckpointTensor

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "num_hidden_layers": 2,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "vocab_size": 1000,
}


def tiny_checkpoint() -> Checkpoint:
    """Two layers, two KV heads of 64 values, bfloat16."""
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (1000, 512),
        "lm_head.weight": (1000, 512),
        "model.norm.weight": (512,),
    }
    for layer in range(2):
        stem = f"model.layers.{layer}."
        shapes |= {f"{stem}{name}.weight": (512,) for name in ("input_layernorm", "post_attention_layernorm")}
        shapes |= {f"{stem}self_attn.{name}_proj.weight": (512, 512) for name in "qo"}
        shapes |= {f"{stem}self_attn.{name}_proj.weight": (128, 512) for name in "kv"}
        shapes |= {f"{stem}mlp.{name}_proj.weight": (1024, 512) for name in ("gate", "up")}
        shapes |= {f"{stem}mlp.down_proj.weight": (512, 1024)}
    tensors = tuple(CheckpointTensor(name, "BF16", shape, 2 * math.prod(shape)) for name, shape in shapes.items())
    return Checkpoint("/m", CONFIG, tensors, sum(it.size_bytes for it in tensors))
