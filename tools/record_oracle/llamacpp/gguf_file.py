"""Write a GGUF file that is whole but for its weights: every key, every tensor, and a hole where the data would be.

llama.cpp reads keys and tensor lists and, without allocating, never the data; a few hundred KB on disk stand for a
model of any size.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ALIGNMENT_BYTES = 32
_KINDS = ("u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "str", "arr", "u64", "i64", "f64")
_FORMATS = {
    "u8": "<B",
    "i8": "<b",
    "u16": "<H",
    "i16": "<h",
    "u32": "<I",
    "i32": "<i",
    "f32": "<f",
    "bool": "<?",
    "u64": "<Q",
    "i64": "<q",
    "f64": "<d",
}
_TENSOR_TYPES = {
    "f32": (0, 1, 4),
    "f16": (1, 1, 2),
    "q4_0": (2, 32, 18),
    "q4_1": (3, 32, 20),
    "q5_0": (6, 32, 22),
    "q5_1": (7, 32, 24),
    "q8_0": (8, 32, 34),
    "q2_K": (10, 256, 84),
    "q3_K": (11, 256, 110),
    "q4_K": (12, 256, 144),
    "q5_K": (13, 256, 176),
    "q6_K": (14, 256, 210),
    "iq4_nl": (20, 32, 18),
    "iq4_xs": (23, 256, 136),
    "bf16": (30, 1, 2),
    "mxfp4": (39, 32, 17),
}
"""ggml type: (id, values a block, bytes a block), from ggml.h and ggml-common.h."""

Tensor = tuple[str, str, list[int]]


def write_gguf(path: Path, model: dict[str, Any]) -> None:
    """Write a recorded model: `kv` is {key: [kind, value]}, `tensors` rows of [name, type, shape] or of
    [pattern, type, shape, layers], where `{i}` stands for each layer.

    Kinds are GGUF's ("u32", "arr:f32"), or as recorded for the models of llama.cpp's architecture test: "v" (the
    kind is that of the value), "arr" and "skip" (an array of which only type and length are known). Raises KeyError
    for a type that is not in this module's tables.
    """
    tensors = list(expanded(model["tensors"]))
    keys = [_key(name, kind, value) for name, (kind, value) in model["kv"].items()]
    header = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys))
    offset = 0
    for name, kind, shape in tensors:
        type_id, block_values, block_bytes = _TENSOR_TYPES[kind]
        header += _text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        header += struct.pack("<IQ", type_id, offset)
        values = 1
        for extent in shape:
            values *= extent
        offset += _padded(values // block_values * block_bytes)
    header += bytes(_padded(len(header)) - len(header))
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + offset)


def expanded(rows: list[Any]) -> Iterator[Tensor]:
    """One row a tensor. A pattern's layers are numbers and [first, last]."""
    for name, kind, shape, *rest in rows:
        layers = rest[0] if rest else None
        if layers is None:
            yield name, kind, shape
            continue
        for entry in layers:
            for layer in range(entry[0], entry[1] + 1) if isinstance(entry, list) else (entry,):
                yield name.replace("{i}", str(layer)), kind, shape


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES


def _text(word: str) -> bytes:
    encoded = word.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _key(name: str, kind: str, value: Any) -> bytes:  # noqa: ANN401  what a recorded key holds
    if kind == "skip":
        kind, length = value[0], value[1]
        return _array(name, kind, [f"[{index}]" if kind == "str" else 0 for index in range(length)])
    if kind == "arr" or kind.startswith("arr:"):
        return _array(name, kind[4:] or _kind_of_all(value), value)
    kind = _kind_of(value) if kind == "v" else kind
    return _text(name) + struct.pack("<I", _KINDS.index(kind)) + _scalar(kind, value)


def _array(name: str, kind: str, values: list[Any]) -> bytes:
    head = struct.pack("<IIQ", _KINDS.index("arr"), _KINDS.index(kind), len(values))
    return _text(name) + head + b"".join(_scalar(kind, value) for value in values)


def _scalar(kind: str, value: Any) -> bytes:  # noqa: ANN401
    return _text(value) if kind == "str" else struct.pack(_FORMATS[kind], value)


def _kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "u32" if value >= 0 else "i32"
    return "f32" if isinstance(value, float) else "str"


def _kind_of_all(values: list[Any]) -> str:
    """Of what an array's kind was not recorded for: llama.cpp's own writer leaves lists of labels empty, and has signed
    numbers in every other."""
    if not values:
        return "str"
    return "i32" if _kind_of(values[0]) == "u32" else _kind_of(values[0])
