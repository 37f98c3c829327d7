"""A small llama with random weights as a GGUF file: a minute of load on it costs seconds of CPU.

A token is a printable character. What it says is noise; how many tokens its cache holds is not.
"""

from pathlib import Path

import gguf
import numpy as np

CONTEXT_TOKENS = 8192
_LAYERS, _WIDTH, _KV_WIDTH, _INNER = 4, 384, 128, 1024
_LETTERS = [chr(code) for code in range(33, 127)] + ["\u0120", "\u010a"]
"""The last two are how a byte-level vocabulary spells the blank and the end of a line."""


def write_small_gguf(path: Path) -> Path:
    """Write the model, whole or not at all, and return its path."""
    tokens = ["<s>", "</s>", *_LETTERS]
    unfinished = path.with_suffix(".part")
    writer = gguf.GGUFWriter(unfinished, "llama")
    writer.add_name("small noise")
    writer.add_block_count(_LAYERS)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(6)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * len(_LETTERS))
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(value=False)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd": (len(tokens), _WIDTH),
        "output_norm": (_WIDTH,),
        "output": (len(tokens), _WIDTH),
    }
    for layer in range(_LAYERS):
        stem = f"blk.{layer}."
        shapes |= {f"{stem}{part}_norm": (_WIDTH,) for part in ("attn", "ffn")}
        shapes |= {f"{stem}attn_{part}": (_WIDTH, _WIDTH) for part in ("q", "output")}
        shapes |= {f"{stem}attn_{part}": (_KV_WIDTH, _WIDTH) for part in ("k", "v")}
        shapes |= {f"{stem}ffn_{part}": (_INNER, _WIDTH) for part in ("up", "gate")}
        shapes |= {f"{stem}ffn_down": (_WIDTH, _INNER)}
    random = np.random.default_rng(7)
    for tensor, shape in shapes.items():
        writer.add_tensor(f"{tensor}.weight", random.normal(0.0, 0.05, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return unfinished.rename(path)
