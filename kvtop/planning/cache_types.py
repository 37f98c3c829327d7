"""ggml's element types: values and bytes of a block (ggml/src/ggml-common.h), and which may hold a KV cache."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ElementType:
    """`block_values` values are stored in `block_bytes` bytes."""

    name: str
    block_values: int
    block_bytes: int

    @property
    def is_quantized(self) -> bool:
        """Whether several values share a scale."""
        return self.block_values > 1

    def row_bytes(self, values: int) -> int:
        """Bytes of `values` values in a row. Raises ValueError unless they fill whole blocks."""
        if values % self.block_values:
            raise ValueError(f"a row of {values} values does not fill whole {self.name} blocks of {self.block_values}")
        return values // self.block_values * self.block_bytes


CACHE_TYPES = {
    kind.name: kind
    for kind in (
        ElementType("f32", 1, 4),
        ElementType("f16", 1, 2),
        ElementType("bf16", 1, 2),
        ElementType("q8_0", 32, 34),
        ElementType("q4_0", 32, 18),
        ElementType("q4_1", 32, 20),
        ElementType("iq4_nl", 32, 18),
        ElementType("q5_0", 32, 22),
        ElementType("q5_1", 32, 24),
    )
}
"""What `--cache-type-k/-v` accept, in the order of `kv_cache_types` (llama.cpp common/arg.cpp, b11434)."""
