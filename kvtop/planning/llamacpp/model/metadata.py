"""Typed access to the metadata of one architecture, with llama.cpp's own defaults and complaints."""

from dataclasses import dataclass

from kvtop.domain.model_file import GgufHeader, SkippedArray
from kvtop.domain.plan import MalformedModelError
from kvtop.planning.llamacpp.rules.traits import ModelTraits

_UINT32_END = 2**32
_FLOAT32_MOST = 3.5e38


@dataclass(frozen=True, slots=True)
class ArchitectureKeys:
    """Keys that start with the architecture's name. Every method raises MalformedModelError for a value that the engine
    would not take, because a plan on a guessed value would be wrong."""

    header: GgufHeader
    traits: ModelTraits

    @property
    def arch(self) -> str:
        """The name that the keys start with."""
        return self.traits.name

    def has(self, key: str) -> bool:
        """Whether the file has the key at all."""
        return f"{self.arch}.{key}" in self.header.metadata

    def integer(self, key: str, default: int | None = None) -> int:
        """An integer key; without a default the key must be there (`get_key`, src/llama-model-loader.cpp)."""
        value = self.header.metadata.get(f"{self.arch}.{key}")
        if value is None:
            if default is None:
                raise MalformedModelError(f"key not found in model: {self.arch}.{key}")
            return default
        if not isinstance(value, int):
            raise MalformedModelError(f"{self.arch}.{key} is not an integer")
        return self._in_range(key, int(value))

    def positive(self, key: str) -> int:
        """As `integer`, for a key that must be there and is divided by."""
        value = self.integer(key)
        if value == 0:
            raise MalformedModelError(f"{self.arch}.{key} is 0")
        return value

    def _in_range(self, key: str, value: int) -> int:
        """The engine reads all of these into 32 bits without a sign."""
        if not 0 <= value < _UINT32_END:
            raise MalformedModelError(f"{self.arch}.{key} is {value}, which is no unsigned 32-bit number")
        return value

    def number(self, key: str, default: float) -> float:
        """A float key."""
        value = self.header.metadata.get(f"{self.arch}.{key}", default)
        if not isinstance(value, int | float) or not abs(value) <= _FLOAT32_MOST:  # true for NaN as well
            raise MalformedModelError(f"{self.arch}.{key} is not a number that a float can hold")
        return float(value)

    def array(self, key: str) -> tuple[int, ...] | None:
        """An array of integers or booleans, or None when the key is missing or holds one value (`get_arr`)."""
        value = self.header.metadata.get(f"{self.arch}.{key}")
        if value is None or isinstance(value, int | float | str):
            return None
        if isinstance(value, SkippedArray):
            raise MalformedModelError(f"{self.arch}.{key} has {value.length} values, which were not read")
        if not all(isinstance(entry, int) for entry in value):
            raise MalformedModelError(f"{self.arch}.{key} does not hold integers")
        return tuple(self._in_range(key, int(entry)) for entry in value if isinstance(entry, int))

    def per_layer(self, key: str, layers: int, default: int | tuple[int, ...] = 0) -> tuple[int, ...]:
        """One value for all layers or an array of exactly that length (`get_key_or_arr`)."""
        values = self.array(key)
        if values is None:
            if isinstance(default, tuple) and not self.has(key):
                return default
            fallback = default if isinstance(default, int) else None
            return (self.integer(key, fallback),) * layers
        if len(values) != layers:
            raise MalformedModelError(
                f"key {self.arch}.{key} has wrong array length; expected {layers}, got {len(values)}"
            )
        return values


def vocabulary_tokens(header: GgufHeader) -> int:
    """`llama_vocab::n_tokens()` (src/llama-vocab.cpp): the token list, or `vocab_size` where there is no vocabulary."""
    if header.metadata.get("tokenizer.ggml.model") in ("no_vocab", "none"):
        return ArchitectureKeys(header, ModelTraits(header.architecture or "")).integer("vocab_size", 0)
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, SkippedArray):
        return tokens.length
    if isinstance(tokens, tuple):
        return len(tokens)
    raise MalformedModelError("the file has no tokenizer.ggml.tokens")
