"""How many bytes a matrix takes once a quantization method has loaded it.

Source: vLLM 0.32.0, `create_weights` of each method in `layers/quantization`, and the block scales that they register
beside the weights.
"""

from dataclasses import dataclass
from enum import StrEnum


class Scheme(StrEnum):
    """What a method keeps of a linear layer."""

    PLAIN = "plain"
    FP8_BLOCK = "fp8_block"
    """One byte an element, a 4-byte scale for each block of 128 by 128."""
    FP8 = "fp8"
    """One byte an element, a scale for a tensor or a row."""
    INT8 = "int8"
    NVFP4 = "nvfp4"
    """Half a byte an element, an FP8 scale for 16 of them."""
    MXFP4 = "mxfp4"
    """Half a byte an element, a byte of scale for 32 of them."""
    MXFP8 = "mxfp8"
    GROUPED = "grouped"
    """Integers of `bits` bits with a 16-bit scale for each group, and zero points where the method has them."""
    NF4 = "nf4"
    """bitsandbytes: half a byte an element, a 4-byte maximum for 64 of them."""


@dataclass(frozen=True, slots=True)
class Format:
    """A scheme with its numbers. `block`: rows and columns that share a scale."""

    scheme: Scheme
    bits: int = 16
    group: int = 128
    has_zeros: bool = False
    block: tuple[int, int] = (128, 128)


PLAIN = Format(Scheme.PLAIN)
_UNIT_BYTES = {Scheme.FP8: 1.0, Scheme.FP8_BLOCK: 1.0, Scheme.INT8: 1.0}
_SCALED_BYTES = {
    Scheme.NVFP4: 0.5 + 1 / 16,
    Scheme.MXFP4: 0.5 + 1 / 32,
    Scheme.MXFP8: 1 + 1 / 32,
    Scheme.NF4: 0.5 + 4 / 64,
}


def loaded_bytes(form: Format, rows: int, columns: int, plain_bytes: int) -> float:
    """Bytes of one matrix on one rank; `plain_bytes` an element where it is not quantized."""
    elements = rows * columns
    if form.scheme is Scheme.PLAIN:
        return elements * plain_bytes
    if form.scheme in _SCALED_BYTES:
        return elements * _SCALED_BYTES[form.scheme]
    if form.scheme is Scheme.GROUPED:
        group = form.group if form.group > 0 else columns
        return elements * (form.bits / 8 + (2 + (form.bits / 8 if form.has_zeros else 0)) / group)
    scales = rows if form.scheme is Scheme.INT8 else 1
    if form.scheme is Scheme.FP8_BLOCK:
        scales = -(-rows // form.block[0]) * -(-columns // form.block[1])
    return elements * _UNIT_BYTES[form.scheme] + 4 * scales
