"""A tiny llama as a GGUF file, for tests that need a file to read."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import gguf
import numpy as np


def write_tiny_gguf(path: Path, texts: Mapping[str, str] = MappingProxyType({})) -> Path:
    """A llama of two layers with heads of 64, so that the kernels of every backend read its cache.

    `texts` are further keys of its metadata.
    """
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny 1B")
    for key, text in texts.items():
        writer.add_string(key, text)
    writer.add_block_count(2)
    writer.add_context_length(8192)
    writer.add_embedding_length(256)
    writer.add_feed_forward_length(256)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_token_list(["a"] * 32)
    shapes = {"token_embd": (32, 256), "output_norm": (256,), "output": (32, 256)}
    for layer in range(2):
        shapes |= {f"blk.{layer}.{part}_norm": (256,) for part in ("attn", "ffn")}
        shapes |= {f"blk.{layer}.attn_{part}": (256, 256) for part in ("q", "output")}
        shapes |= {f"blk.{layer}.attn_{part}": (128, 256) for part in ("k", "v")}
        shapes |= {f"blk.{layer}.ffn_{part}": (256, 256) for part in ("up", "gate", "down")}
    for tensor, shape in shapes.items():
        writer.add_tensor(f"{tensor}.weight", np.zeros(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
