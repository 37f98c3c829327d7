"""Model directories of the demo: real shapes of public models, written out so that no file is needed."""

from dataclasses import dataclass

from kvtop.domain.model_file import Checkpoint, CheckpointTensor

_BYTES = {"BF16": 2, "U32": 4}
MLX_GROUP = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """A dense decoder with grouped-query attention. `context` is `max_position_embeddings`."""

    architecture: str
    model_type: str
    layers: int
    width: int
    ffn: int
    heads: int
    kv_heads: int
    words: int
    context: int
    head: int = 128
    qk_norm: bool = False
    tied: bool = False

    def config(self) -> dict[str, object]:
        """`config.json`."""
        return {
            "architectures": [self.architecture],
            "model_type": self.model_type,
            "num_hidden_layers": self.layers,
            "hidden_size": self.width,
            "intermediate_size": self.ffn,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head,
            "vocab_size": self.words,
            "max_position_embeddings": self.context,
            "tie_word_embeddings": self.tied,
            "torch_dtype": "bfloat16",
            "hidden_act": "silu",
            "rms_norm_eps": 1e-05,
        }

    def matrices(self) -> list[tuple[str, int, int]]:
        """Every weight with two dimensions: module, rows, columns."""
        found = [("model.embed_tokens", self.words, self.width)]
        if not self.tied:
            found.append(("lm_head", self.words, self.width))
        queries, keys = self.heads * self.head, self.kv_heads * self.head
        for index in range(self.layers):
            prefix = f"model.layers.{index}"
            found += [
                (f"{prefix}.self_attn.q_proj", queries, self.width),
                (f"{prefix}.self_attn.k_proj", keys, self.width),
                (f"{prefix}.self_attn.v_proj", keys, self.width),
                (f"{prefix}.self_attn.o_proj", self.width, queries),
                (f"{prefix}.mlp.gate_proj", self.ffn, self.width),
                (f"{prefix}.mlp.up_proj", self.ffn, self.width),
                (f"{prefix}.mlp.down_proj", self.width, self.ffn),
            ]
        return found

    def norms(self) -> list[tuple[str, int]]:
        """Every weight with one dimension."""
        found = [("model.norm", self.width)]
        for index in range(self.layers):
            prefix = f"model.layers.{index}"
            found += [(f"{prefix}.{name}", self.width) for name in ("input_layernorm", "post_attention_layernorm")]
            if self.qk_norm:
                found += [(f"{prefix}.self_attn.{name}", self.head) for name in ("q_norm", "k_norm")]
        return found


LLAMA_70B = Shape("LlamaForCausalLM", "llama", 80, 8192, 28672, 64, 8, 128256, 131072)
QWEN3_32B = Shape("Qwen3ForCausalLM", "qwen3", 64, 5120, 25600, 64, 8, 151936, 40960, qk_norm=True)
QWEN3_14B = Shape("Qwen3ForCausalLM", "qwen3", 40, 5120, 17408, 40, 8, 151936, 40960, qk_norm=True)
QWEN3_4B = Shape("Qwen3ForCausalLM", "qwen3", 36, 2560, 9728, 32, 8, 151936, 40960, qk_norm=True, tied=True)
LLAMA_8B = Shape("LlamaForCausalLM", "llama", 32, 4096, 14336, 32, 8, 128256, 131072)


def bf16(path: str, shape: Shape) -> Checkpoint:
    """The model as its makers publish it."""
    tensors = [_tensor(f"{name}.weight", "BF16", *size) for name, *size in shape.matrices()]
    return _checkpoint(path, shape, tensors, {})


def mlx_4bit(path: str, shape: Shape) -> Checkpoint:
    """The model as mlx-lm converts it: 4 bits a weight, packed in U32, a scale and a bias per group of 64."""
    tensors = []
    for name, rows, columns in shape.matrices():
        tensors.append(_tensor(f"{name}.weight", "U32", rows, columns // 8))
        tensors += [_tensor(f"{name}.{part}", "BF16", rows, columns // MLX_GROUP) for part in ("scales", "biases")]
    return _checkpoint(path, shape, tensors, {"quantization": {"group_size": MLX_GROUP, "bits": 4}})


def _tensor(name: str, dtype: str, *shape: int) -> CheckpointTensor:
    values = 1
    for extent in shape:
        values *= extent
    return CheckpointTensor(name, dtype, shape, values * _BYTES[dtype])


def _checkpoint(path: str, shape: Shape, tensors: list[CheckpointTensor], more: dict[str, object]) -> Checkpoint:
    tensors += [_tensor(f"{name}.weight", "BF16", size) for name, size in shape.norms()]
    return Checkpoint(path, {**shape.config(), **more}, tuple(tensors), sum(it.size_bytes for it in tensors))
