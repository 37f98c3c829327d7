"""Sizes of the element types that a KV cache may have."""

import pytest

from kvtop.planning.cache_types import CACHE_TYPES


@pytest.mark.parametrize(
    ("name", "row_bytes"),
    [
        ("f32", 512),
        ("f16", 256),
        ("bf16", 256),
        ("q8_0", 136),
        ("q5_1", 96),
        ("q5_0", 88),
        ("q4_1", 80),
        ("q4_0", 72),
        ("iq4_nl", 72),
    ],
)
def test_a_row_of_128_values(name: str, row_bytes: int) -> None:
    assert CACHE_TYPES[name].row_bytes(128) == row_bytes


def test_there_are_nine_types_and_no_k_quants() -> None:
    assert len(CACHE_TYPES) == 9
    assert "q6_K" not in CACHE_TYPES


def test_a_row_must_fill_whole_blocks() -> None:
    with pytest.raises(ValueError, match="whole q8_0 blocks of 32"):
        CACHE_TYPES["q8_0"].row_bytes(80)
    assert CACHE_TYPES["f16"].row_bytes(80) == 160
