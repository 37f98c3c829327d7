"""GGUF headers: what is read, what is stepped over, what is refused."""

import os
import struct
import tempfile
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvtop.domain.model_file import GgufHeader, ModelFileError, SkippedArray, TensorInfo
from kvtop.sources.model_files.gguf import is_gguf, read_gguf

Writer = Callable[..., bytes]

SMALL = {
    "general.architecture": ("str", "llama"),
    "llama.block_count": ("u32", 2),
    "llama.attention.head_count_kv": ("arr:u32", [8, 4]),
    "llama.sliding": ("arr:bool", [True, False]),
    "tokenizer.ggml.tokens": ("arr:str", ["a", "", "longer " * 50, "é"]),
    "after": ("i64", -3),
}
TENSORS = [("token_embd.weight", 12, [256, 4], 576), ("blk.0.norm.weight", 0, [256], 1024), ("x", 1, [3, 1, 2, 1], 12)]


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def write(content: bytes, name: str = "model.gguf") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [2, 3])
def test_reads_both_byte_orders_and_versions(
    gguf_bytes: Writer, save: Callable[..., Path], order: str, version: int
) -> None:
    content = gguf_bytes(SMALL, TENSORS, order=order, version=version)
    path = save(content)
    header = read_gguf(path)
    assert header.path == str(path)
    assert (header.version, header.big_endian) == (version, order == ">")
    assert header.architecture == "llama"
    assert header.metadata == {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.attention.head_count_kv": (8, 4),
        "llama.sliding": (True, False),
        "tokenizer.ggml.tokens": SkippedArray("str", 4),
        "after": -3,
    }
    assert header.tensors == (
        TensorInfo("token_embd.weight", 12, "q4_K", (256, 4), 576),
        TensorInfo("blk.0.norm.weight", 0, "f32", (256,), 1024),
        TensorInfo("x", 1, "f16", (3, 1, 2, 1), 12),
    )
    assert header.file_size_bytes == len(content)
    assert header.parts == header.notes == ()


def test_arrays_up_to_4096_elements_are_built(gguf_bytes: Writer, save: Callable[..., Path]) -> None:
    metadata = {"built": ("arr:i32", range(4096)), "skipped": ("arr:i32", range(4097)), "after": ("u8", 1)}
    assert read_gguf(save(gguf_bytes(metadata))).metadata == {
        "built": tuple(range(4096)),
        "skipped": SkippedArray("i32", 4097),
        "after": 1,
    }


def test_a_vocabulary_is_never_built(gguf_bytes: Writer, save: Callable[..., Path]) -> None:
    words = [f"word{number}" * (number % 40) for number in range(60_000)]
    path = save(gguf_bytes({"tokenizer.ggml.tokens": ("arr:str", words)}))
    tracemalloc.start()
    try:
        header = read_gguf(path)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert header.metadata == {"tokenizer.ggml.tokens": SkippedArray("str", 60_000)}
    assert peak_bytes < 200_000


def test_unknown_tensor_types_are_kept_with_a_note(gguf_bytes: Writer, save: Callable[..., Path]) -> None:
    # 137 is ik_llama.cpp's IQ2_K: its size is not ours to know, so any aligned place after it is believed.
    header = read_gguf(save(gguf_bytes({}, [("a", 137, [256], 96), ("b", 137, [256], 32), ("c", 0, [2], 8)])))
    assert header.tensors[0] == TensorInfo("a", 137, None, (256,), None)
    assert header.tensors[2].size_bytes == 8
    assert header.notes == ("2 tensors have the unknown type 137",)


def test_alignment_of_the_file_is_used(gguf_bytes: Writer, save: Callable[..., Path]) -> None:
    metadata = {"general.alignment": ("u32", 128)}
    tensors = [("a", 0, [1], 4), ("b", 0, [1], 4)]
    assert len(read_gguf(save(gguf_bytes(metadata, tensors, alignment=128))).tensors) == 2
    with pytest.raises(ModelFileError, match="'b' has offset 32, expected 128"):
        read_gguf(save(gguf_bytes(metadata, tensors, alignment=32)))


def test_names_do_not_matter(gguf_bytes: Writer, save: Callable[..., Path]) -> None:
    blob = save(gguf_bytes(SMALL), "sha256-" + "0" * 64)
    assert is_gguf(blob)
    assert read_gguf(blob).architecture == "llama"
    assert not is_gguf(save(b"GGU", "short"))
    assert not is_gguf(blob.parent)


def _start(tensors: int, pairs: int, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs)


def _key(type_id: int, *rest: int, letters: str = "") -> bytes:
    return struct.pack("<Q1sI" + letters, 1, b"k", type_id, *rest)


PADDING = b"\0" * 64


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "0 bytes are no GGUF file"),
        (b"GGUF\3\0\0\0", "8 bytes are no GGUF file"),
        (b"\x80\x02}q\x00" + PADDING, "starts with b'\\x80\\x02}q', not with b'GGUF'"),
        (_start(0, 0, version=1) + PADDING, "GGUF version 1 is not supported"),
        (_start(0, 0, version=4) + PADDING, "GGUF version 4 is not supported"),
        (_start(0, 0, version=0), "GGUF version 0 is not supported"),
        (_start(0, 1 << 63) + PADDING, "claims 9223372036854775808 keys and 0 tensors in 88 bytes"),
        (_start(1 << 40, 0) + PADDING, "claims 0 keys and 1099511627776 tensors in 88 bytes"),
        (_start(0, 2) + _key(0, 1, letters="B") * 2 + PADDING, "key 1 is a second 'k'"),
        (_start(0, 1) + struct.pack("<QI", 0, 0) + PADDING, "key 0 is empty"),
        (_start(0, 1) + struct.pack("<Q", 1 << 50) + PADDING, "key 0 at byte 32 claims 1125899906842624 bytes"),
        (_start(0, 1) + _key(13) + PADDING, "'k' has the unknown value type 13"),
        (_start(0, 1) + _key(9, 9, 1, letters="IQ") + PADDING, "'k' is an array of arrays"),
        (_start(0, 1) + _key(9, 77, 1, letters="IQ") + PADDING, "'k' is an array of the unknown type 77"),
        (_start(0, 1) + _key(9, 4, 1 << 62, letters="IQ") + PADDING, "truncated: 4611686018427387904 values of 'k'"),
        (_start(0, 1) + _key(9, 8, 1 << 62, letters="IQ") + PADDING, "'k' claims 4611686018427387904 strings"),
        (_start(0, 1) + _key(9, 8, 1, (1 << 64) - 8, letters="IQQ") + PADDING, "a string of 'k' reaches byte"),
        (_start(0, 1) + _key(9, 8, 2, 1 << 62, letters="IQQ") + PADDING, "a string of 'k' reaches byte"),
        (_start(0, 1) + _key(8, 1 << 63, letters="Q") + PADDING, "value of 'k' at byte 45 claims 9223372036854775808"),
        (_start(0, 1) + _key(8, 2000, letters="Q") + PADDING, "truncated: value of 'k' at byte 45 needs 2000 bytes"),
    ],
)
def test_refuses_hostile_headers(save: Callable[..., Path], content: bytes, found: str) -> None:
    path = save(content)
    with pytest.raises(ModelFileError) as caught:
        read_gguf(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert found in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "offsets", "found"),
    [
        ([("a", 0, [1] * 5, 4)], None, "'a' has 5 dimensions (at most 4)"),
        ([("a", 0, [1 << 63], 4)], None, "'a' has the impossible shape"),
        ([("a", 0, [1 << 32, 1 << 32], 4)], None, "'a' has the impossible shape"),
        ([("a", 0, [0, 1 << 63], 4)], None, "'a' has the impossible shape"),
        ([("a", 12, [100], 144)], None, "'a' has rows of 100 values, q4_K takes multiples of 256"),
        ([("a" * 256, 0, [1], 4)], None, "name of tensor 0 at byte 32 claims 256 bytes"),
        ([("a", 0, [1], 4), ("a", 0, [1], 4)], None, "two tensors are called 'a'"),
        ([("a", 0, [1], 4)], [1], "'a' has offset 1, expected 0"),
        ([("a", 0, [1], 4)], [32], "'a' has offset 32, expected 0"),
        ([("a", 0, [16], 64), ("b", 0, [1], 4)], [0, 32], "'b' has offset 32, expected 64"),
        ([("a", 137, [1], 1), ("b", 137, [1], 1), ("c", 0, [1], 4)], [0, 64, 32], "'c' has offset 32, expected 64"),
        ([("b", 137, [1], 32), ("a", 137, [1], 32)], [0, 1 << 63], "truncated: 'a' ends at byte 9223372036854775904"),
        ([("a", 0, [1 << 40], 4)], None, "truncated: 'a' ends at byte 4398046511168, the file has 96 bytes"),
    ],
)
def test_refuses_impossible_tensors(
    gguf_bytes: Writer,
    save: Callable[..., Path],
    tensors: list[tuple[str, int, list[int], int]],
    offsets: list[int] | None,
    found: str,
) -> None:
    with pytest.raises(ModelFileError) as caught:
        read_gguf(save(gguf_bytes({}, tensors, offsets=offsets)))
    assert found in str(caught.value)


@pytest.mark.parametrize("alignment", [("u32", 0), ("u32", 48), ("str", "32"), ("i32", -32), ("arr:u32", [32])])
def test_refuses_alignments_that_are_no_power_of_two(
    gguf_bytes: Writer, save: Callable[..., Path], alignment: tuple[str, object]
) -> None:
    with pytest.raises(ModelFileError, match=r"general\.alignment is .* not a power of two"):
        read_gguf(save(gguf_bytes({"general.alignment": alignment}, TENSORS)))


def test_a_sparse_file_cannot_make_the_reader_build_gigabytes(save: Callable[..., Path]) -> None:
    pairs = 4000
    texts = b"".join(struct.pack("<Q4sIQ", 4, b"%04d" % number, 8, 4096) + bytes(4096) for number in range(pairs))
    with pytest.raises(ModelFileError, match="metadata of more than 8388608 bytes"):
        read_gguf(save(_start(0, pairs) + texts))


def test_a_sparse_file_cannot_make_the_reader_walk_for_minutes(tmp_path: Path) -> None:
    path = tmp_path / "holes.gguf"
    path.write_bytes(_start(0, 1) + _key(9, 8, 1 << 30, letters="IQ"))
    os.truncate(path, 16 << 30)
    with pytest.raises(ModelFileError, match="at most 4194304 in a file are accepted"):
        read_gguf(path)


@pytest.mark.parametrize("tensors", [TENSORS, []])
def test_every_truncation_is_refused(
    gguf_bytes: Writer, save: Callable[..., Path], tensors: list[tuple[str, int, list[int], int]]
) -> None:
    content = gguf_bytes(SMALL, tensors)
    # Without tensors there is no data section, and the padding before it may be missing.
    needed = len(content) - 20 if tensors else len(content.rstrip(b"\0"))
    read_gguf(save(content))
    for size in range(needed):
        with pytest.raises(ModelFileError):
            read_gguf(save(content[:size]))


_NUMBERS = {"u8": (0, 255), "i16": (-(1 << 15), (1 << 15) - 1), "u32": (0, (1 << 32) - 1), "i64": (-(1 << 63), 1 << 62)}
_TYPED = st.one_of(
    *(st.tuples(st.just(kind), st.integers(*bounds)) for kind, bounds in _NUMBERS.items()),
    *(st.tuples(st.just(f"arr:{kind}"), st.lists(st.integers(*bounds))) for kind, bounds in _NUMBERS.items()),
    st.tuples(st.just("f64"), st.floats(allow_nan=False)),
    st.tuples(st.just("bool"), st.booleans()),
    st.tuples(st.just("str"), st.text(st.characters(codec="utf-8"), max_size=300)),
    st.tuples(st.just("arr:str"), st.lists(st.text(st.characters(codec="utf-8"), max_size=300), max_size=50)),
)
_METADATA = st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40), _TYPED, max_size=12)
_SHAPES = st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=6)


@given(metadata=_METADATA, shapes=_SHAPES, order=st.sampled_from("<>"))
@settings(max_examples=150, deadline=None)
def test_round_trip(
    gguf_bytes: Writer, metadata: dict[str, tuple[str, object]], shapes: list[list[int]], order: str
) -> None:
    tensors = []
    for number, shape in enumerate(shapes):
        values = 1
        for size in shape:
            values *= size
        tensors.append((f"t{number}", 0, shape, 4 * values))
    metadata.pop("general.alignment", None)
    header = _read(gguf_bytes(metadata, tensors, order=order))
    expected: dict[str, object] = {}
    for key, (kind, value) in metadata.items():
        assert not isinstance(value, list) or kind.startswith("arr:")
        if kind == "arr:str" and isinstance(value, list):
            expected[key] = SkippedArray("str", len(value))
        else:
            expected[key] = tuple(value) if isinstance(value, list) else value
    assert header.metadata == expected
    assert [(t.name, list(t.shape), t.size_bytes) for t in header.tensors] == [(t[0], t[2], t[3]) for t in tensors]


@given(
    changes=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 3000),
    order=st.sampled_from("<>"),
)
@example(changes=[(4, 0)], cut=3000, order="<")
@settings(max_examples=400)
def test_corruption_raises_nothing_but_model_file_error(
    gguf_bytes: Writer, changes: list[tuple[int, int]], cut: int, order: str
) -> None:
    content = bytearray(gguf_bytes(SMALL, TENSORS, order=order))
    for place, byte in changes:
        content[place % len(content)] = byte
    with suppress(ModelFileError):
        assert _read(bytes(content[:cut])).file_size_bytes <= cut


def _read(content: bytes) -> GgufHeader:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.gguf"
        path.write_bytes(content)
        return read_gguf(path)
