"""ggml's block sizes against the table of the `gguf` package."""

from gguf.constants import GGML_QUANT_SIZES

from kvtop.sources.model_files.gguf_types import TENSOR_TYPES, TensorType


def test_block_sizes_equal_those_of_the_gguf_package() -> None:
    theirs = {int(kind): (kind.name.lower(), *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
    # The package counts two floats for q8_1; the struct has two halves since 2024 (ggml-common.h, block_q8_1).
    theirs[9] = ("q8_1", 32, 36)
    ours = {number: (kind.name.lower(), kind.block_values, kind.block_bytes) for number, kind in TENSOR_TYPES.items()}
    assert len(theirs) > 25
    assert {number: ours.get(number) for number in theirs} == theirs


def test_types_newer_than_the_package() -> None:
    # nvfp4: 4 scales of one byte and 64 values of 4 bits; q1_0, q2_0: one half and 1 or 2 bits a value (ggml-common.h).
    assert TENSOR_TYPES[40] == TensorType("nvfp4", 64, 4 + 64 * 4 // 8)
    assert TENSOR_TYPES[41] == TensorType("q1_0", 128, 2 + 128 // 8)
    assert TENSOR_TYPES[42] == TensorType("q2_0", 64, 2 + 64 * 2 // 8)
