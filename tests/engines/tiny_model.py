"""Makes a tiny Llama with random weights and a byte-level tokenizer: `tiny_model.py DIRECTORY`, by vLLM's own Python.

Two layers, two key-value heads of 64: 1 KiB of bfloat16 KV cache a token, so that a small pool fills quickly.
"""

import sys
from pathlib import Path

import torch  # type: ignore[import-not-found]  # in the environment of vLLM only
from tokenizers import (  # type: ignore[import-not-found]
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
)
from transformers import (  # type: ignore[import-not-found]
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)


def main(directory: Path) -> None:
    """Write the model whole or not at all."""
    unfinished = directory.with_name(f"{directory.name}.part")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(["<s>", "</s>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    wrapped.save_pretrained(unfinished)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=2048,
        bos_token_id=0,
        eos_token_id=1,
        dtype="bfloat16",
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(unfinished)
    unfinished.rename(directory)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
