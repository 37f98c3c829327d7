"""One weight matrix of a model, and how it is spread over the ranks of a server."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Cut(StrEnum):
    """How a matrix is spread over tensor-parallel ranks (vLLM 0.32.0, `layers/linear.py`)."""

    WHOLE = "whole"
    OUTPUT = "output"
    """Its rows are cut: column-parallel layers."""
    INPUT = "input"
    """Its columns are cut: row-parallel layers."""
    KV = "kv"
    """Rows by KV heads: cut, or repeated where there are more ranks than heads."""
    VOCABULARY = "vocabulary"
    """Rows in multiples of 64, then cut."""
    TOWER = "tower"
    """Of an encoder: cut in some classes, whole in others."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """`rows` outputs by `columns` inputs, `count` times. `layer` None: outside the decoder layers.

    `name` is the module's, from the decoder on ("layers.3.self_attn.q_proj", "lm_head"), for lists of modules that are
    not quantized. `heads`: KV heads of a KV matrix. `is_expert`: one of `count` routed experts. `is_linear`: a layer
    that quantization methods look at; `element_bytes` fixes the dtype of others.
    """

    name: str
    rows: int
    columns: int
    split: Cut = Cut.WHOLE
    layer: int | None = None
    count: int = 1
    heads: int = 0
    is_expert: bool = False
    is_linear: bool = True
    element_bytes: int | None = None

    @property
    def elements(self) -> int:
        """Parameters of the whole matrix."""
        return self.rows * self.columns * self.count


@dataclass(frozen=True, slots=True)
class ModelShapes:
    """All matrices of a model. `doubtful_names`: first words of parts whose size is a guess."""

    matrices: tuple[Matrix, ...]
    doubtful_names: tuple[str, ...] = ()

    @property
    def elements(self) -> int:
        """Parameters of the whole model."""
        return sum(matrix.elements for matrix in self.matrices)


def small(name: str, elements: int, layer: int | None, *, element_bytes: int | None = None) -> Matrix:
    """Norms, biases and other vectors that every rank keeps whole and nobody quantizes."""
    return Matrix(name, 1, elements, Cut.WHOLE, layer, is_linear=False, element_bytes=element_bytes)


def present(matrices: Iterable[Matrix]) -> tuple[Matrix, ...]:
    """Without those that have no elements."""
    return tuple(matrix for matrix in matrices if matrix.elements > 0)
