"""Read the header of a GGUF file: metadata and tensor list, never the weights.

Layout: magic, version, counts, key/value pairs, tensor infos, padding, data (llama.cpp ggml/src/gguf.cpp, b11434, whose
checks are repeated here: what the engine would refuse to load is no base for a plan). Versions 2 and 3 in both byte
orders; token arrays are stepped over.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from kvtop.domain.model_file import GgufHeader, MetadataValue, ModelFileError, SkippedArray, TensorInfo
from kvtop.sources.model_files.gguf_cursor import Cursor
from kvtop.sources.model_files.gguf_parts import merge_parts, other_parts
from kvtop.sources.model_files.gguf_types import ARRAY, STRING, TENSOR_TYPES, VALUE_TYPES
from kvtop.sources.model_files.regular_file import open_regular

MAGIC = b"GGUF"
BUILT_ARRAY_LENGTH = 4096
"""Longer arrays are stepped over. Per-layer arrays have at most a few hundred elements."""

_FIXED_BYTES = 24
"""Magic, version and the two counts."""
_PAIR_BYTES = 13
"""The least that a key/value pair takes: an empty key's length, a type, one byte."""
_TENSOR_BYTES = 24
"""The least that a tensor takes: an empty name's length, dimensions, type, offset."""
_PAIR_LIMIT = 1 << 16
_TENSOR_LIMIT = 1 << 18
_KEY_LIMIT_BYTES = 65535
_TEXT_LIMIT_BYTES = 1 << 20
_NAME_LIMIT_BYTES = 255
_DIMENSION_LIMIT = 4
_DEFAULT_ALIGNMENT = 32


def read_gguf(path: str | os.PathLike[str], *, follow_parts: bool = True, parts: Sequence[str] = ()) -> GgufHeader:
    """The header of the model that `path` (any part of it) belongs to.

    Parts of a split file are looked for beside `path` by name, unless `parts` says where they are; a missing part is a
    note. `follow_parts=False` reads this one file only. Raises ModelFileError for anything that is not a readable,
    complete, credible GGUF file.
    """
    header = _read_file(os.fspath(path))
    if not follow_parts:
        return header
    return merge_parts(header, [_read_file(part) for part in other_parts(header, parts)])


def is_gguf(path: str | os.PathLike[str]) -> bool:
    """Whether the file starts like a GGUF file; names do not matter (Ollama's blobs have no extension)."""
    try:
        with open_regular(os.fspath(path)) as (file, _):
            return file.read(len(MAGIC)) == MAGIC
    except ModelFileError:
        return False


def _read_file(path: str) -> GgufHeader:
    with open_regular(path) as (file, size_bytes):
        if size_bytes < _FIXED_BYTES:
            raise ModelFileError(f"{path}: {size_bytes} bytes are no GGUF file")
        return _read_header(path, lambda start, length: os.pread(file.fileno(), length, start), size_bytes)


def _read_header(path: str, read: Callable[[int, int], bytes], size_bytes: int) -> GgufHeader:
    start = read(0, 6)
    if start[:4] != MAGIC:
        raise ModelFileError(f"{path}: starts with {start[:4]!r}, not with {MAGIC!r}")
    # The version is small, so it tells the byte order: its low half is zero when it is read the wrong way round.
    big_endian = int.from_bytes(start[4:6], "little") == 0
    cursor = Cursor(read, size_bytes, path, ">" if big_endian else "<", 4)
    version = cursor.u32("version")
    if version not in {2, 3}:
        cursor.fail(f"GGUF version {version} is not supported (2 and 3 are)")
    tensor_count = cursor.u64("tensor count")
    pair_count = cursor.u64("metadata count")
    least_bytes = _FIXED_BYTES + pair_count * _PAIR_BYTES + tensor_count * _TENSOR_BYTES
    if pair_count > _PAIR_LIMIT or tensor_count > _TENSOR_LIMIT or least_bytes > cursor.size_bytes:
        cursor.fail(f"claims {pair_count} keys and {tensor_count} tensors in {cursor.size_bytes} bytes")
    metadata = _metadata(cursor, pair_count)
    tensors, notes = _tensors(cursor, tensor_count, _alignment(cursor, metadata))
    return GgufHeader(
        path=path,
        version=version,
        big_endian=big_endian,
        metadata=metadata,
        tensors=tensors,
        file_size_bytes=cursor.size_bytes,
        notes=notes,
    )


def _metadata(cursor: Cursor, count: int) -> dict[str, MetadataValue]:
    metadata: dict[str, MetadataValue] = {}
    for number in range(count):
        key = cursor.text(f"key {number}", _KEY_LIMIT_BYTES)
        if not key or key in metadata:
            cursor.fail(f"key {number} is {'empty' if not key else f'a second {key!r}'}")
        metadata[key] = _value(cursor, key)
    return metadata


def _value(cursor: Cursor, key: str) -> MetadataValue:
    type_id = cursor.u32(f"type of {key!r}")
    if type_id == STRING:
        return cursor.text(f"value of {key!r}", _TEXT_LIMIT_BYTES)
    if type_id == ARRAY:
        return _array(cursor, key)
    kind = VALUE_TYPES.get(type_id)
    if kind is None:
        cursor.fail(f"{key!r} has the unknown value type {type_id}")
    return cursor.numbers(kind, 1, f"value of {key!r}")[0]


def _array(cursor: Cursor, key: str) -> MetadataValue:
    type_id = cursor.u32(f"element type of {key!r}")
    length = cursor.u64(f"length of {key!r}")
    if type_id == STRING:
        cursor.skip_strings(length, repr(key))
        return SkippedArray("str", length)
    kind = VALUE_TYPES.get(type_id)
    if kind is None:
        # Arrays of arrays are in the format, but neither written nor loaded by llama.cpp.
        cursor.fail(f"{key!r} is an array of {'arrays' if type_id == ARRAY else f'the unknown type {type_id}'}")
    if length > BUILT_ARRAY_LENGTH:
        cursor.take(length * kind.size_bytes, f"{length} values of {key!r}")
        return SkippedArray(kind.name, length)
    return cursor.numbers(kind, length, f"{length} values of {key!r}")


def _alignment(cursor: Cursor, metadata: Mapping[str, MetadataValue]) -> int:
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        cursor.fail(f"general.alignment is {alignment!r}, not a power of two")
    return alignment


def _tensors(cursor: Cursor, count: int, alignment: int) -> tuple[tuple[TensorInfo, ...], tuple[str, ...]]:
    tensors: list[TensorInfo] = []
    offsets: list[int] = []
    for number in range(count):
        tensors.append(_tensor(cursor, number))
        offsets.append(cursor.u64(f"offset of {tensors[-1].name!r}"))
    names = Counter(tensor.name for tensor in tensors)
    if len(names) < count:
        cursor.fail(f"two tensors are called {names.most_common(1)[0][0]!r}")
    data_start = _padded(cursor.position, alignment)
    expected_offset = 0
    previous_known = True
    for tensor, offset in zip(tensors, offsets, strict=True):
        # Data lies in the order of the list without gaps; only what follows an unknown type may start anywhere later.
        if offset % alignment or offset < expected_offset or (previous_known and offset != expected_offset):
            cursor.fail(f"{tensor.name!r} has offset {offset}, expected {expected_offset}")
        end = offset + (tensor.size_bytes or 0)
        if data_start + end > cursor.size_bytes:
            cursor.fail(
                f"truncated: {tensor.name!r} ends at byte {data_start + end}, the file has {cursor.size_bytes} bytes"
            )
        expected_offset = _padded(end, alignment)
        previous_known = tensor.size_bytes is not None
    unknown = Counter(tensor.type_id for tensor in tensors if tensor.type_name is None)
    return tuple(tensors), tuple(
        f"{number} tensors have the unknown type {type_id}" for type_id, number in sorted(unknown.items())
    )


def _tensor(cursor: Cursor, number: int) -> TensorInfo:
    name = cursor.text(f"name of tensor {number}", _NAME_LIMIT_BYTES)
    dimensions = cursor.u32(f"dimensions of {name!r}")
    if dimensions > _DIMENSION_LIMIT:
        cursor.fail(f"{name!r} has {dimensions} dimensions (at most {_DIMENSION_LIMIT})")
    shape = tuple(cursor.u64(f"shape of {name!r}") for _ in range(dimensions))
    values = 1
    for size in shape:
        values *= size
    if max(values, *shape, 0) >= 1 << 63:
        cursor.fail(f"{name!r} has the impossible shape {shape}")
    type_id = cursor.u32(f"type of {name!r}")
    kind = TENSOR_TYPES.get(type_id)
    if kind is None:
        return TensorInfo(name, type_id, None, shape, None)
    row_values = shape[0] if shape else 1
    if row_values % kind.block_values:
        cursor.fail(f"{name!r} has rows of {row_values} values, {kind.name} takes multiples of {kind.block_values}")
    return TensorInfo(name, type_id, kind.name, shape, kind.size_bytes(values))


def _padded(size_bytes: int, alignment: int) -> int:
    return -(-size_bytes // alignment) * alignment
