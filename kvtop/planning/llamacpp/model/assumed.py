"""A file of an architecture without a rule, looked at as if every layer were plain full attention.

What comes out is a guess, and must be shown as one: windows, state and latent caches of the real model are not in it.
"""

from dataclasses import replace

from kvtop.domain.model_file import GgufHeader
from kvtop.domain.plan import NoExactRuleError

_STAND_IN = "llama"
_KEPT = ("block_count", "context_length", "embedding_length", "feed_forward_length", "vocab_size")
_KEPT_ATTENTION = ("head_count", "head_count_kv", "key_length", "value_length")


def assume_full_attention(header: GgufHeader) -> GgufHeader:
    """The header with only what plain attention needs, under an architecture that is all plain attention.

    Raises NoExactRuleError where the file does not even say how many layers and heads it has.
    """
    arch = header.architecture
    wanted = [*_KEPT, *(f"attention.{name}" for name in _KEPT_ATTENTION)]
    found = {key: header.metadata.get(f"{arch}.{key}") for key in wanted}
    own = {f"{_STAND_IN}.{key}": value for key, value in found.items() if value is not None}
    for key in ("block_count", "embedding_length", "attention.head_count", "context_length"):
        if f"{_STAND_IN}.{key}" not in own:
            raise NoExactRuleError(f"nothing can be assumed: the file does not say {arch}.{key}")
    general = {key: value for key, value in header.metadata.items() if key.startswith(("general.", "tokenizer."))}
    return replace(header, metadata={**general, **own, "general.architecture": _STAND_IN})
