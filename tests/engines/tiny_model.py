"""Makes tiny models with random weights and a byte-level tokenizer: `tiny_model.py FOLDER`, by vLLM's own Python.

Both have two key-value heads of 64. "tiny-llama": 2 layers, 1 KiB of bfloat16 KV cache a token, so that a small pool
fills quickly. "tiny-gemma3": 6 layers, all but one with a sliding window of 128, so that a pool holds groups of layers.
"""

import sys
from pathlib import Path

import torch  # in the environment of vLLM only
from tokenizers import (  # type: ignore[import-not-found]
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
)
from transformers import (  # type: ignore[import-not-found]
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
VOCABULARY = {letter: number for number, letter in enumerate(["<s>", "</s>", *LETTERS])}
SIZES = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 2048,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "dtype": "bfloat16",
}


def main(folder: Path) -> None:
    """Write each model that is not there yet, whole or not at all."""
    tokenizer = Tokenizer(models.BPE(vocab=VOCABULARY, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    gemma = Gemma3TextConfig(**SIZES, num_hidden_layers=6, sliding_window=128, query_pre_attn_scalar=64)
    llama = LlamaConfig(**SIZES, num_hidden_layers=2)
    for name, kind, config in (("tiny-llama", LlamaForCausalLM, llama), ("tiny-gemma3", Gemma3ForCausalLM, gemma)):
        if (folder / name / "model.safetensors").exists():
            continue
        unfinished = folder / f"{name}.part"
        wrapped.save_pretrained(unfinished)
        torch.manual_seed(7)
        kind(config).to(torch.bfloat16).save_pretrained(unfinished)
        unfinished.rename(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
