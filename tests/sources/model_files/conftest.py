"""A small GGUF and safetensors writer, written apart from the readers so that the two can disagree."""

import json
import struct
from collections.abc import Callable, Mapping, Sequence

import pytest

_TYPES = {"u8": 0, "i8": 1, "u16": 2, "i16": 3, "u32": 4, "i32": 5, "f32": 6, "bool": 7, "str": 8, "arr": 9}
_TYPES |= {"u64": 10, "i64": 11, "f64": 12}
_LETTERS = {"u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "f32": "f", "bool": "?"}
_LETTERS |= {"u64": "Q", "i64": "q", "f64": "d"}

Typed = tuple[str, object]
"""A metadata value and its type: ("u32", 7), ("str", "llama"), ("arr:i32", [1, 2])."""
Tensor = tuple[str, int, Sequence[int], int]
"""Name, type number, shape, bytes of data."""


def _text(text: str, order: str) -> bytes:
    encoded = text.encode()
    return struct.pack(order + "Q", len(encoded)) + encoded


def _value(kind: str, value: object, order: str) -> bytes:
    return _text(str(value), order) if kind == "str" else struct.pack(order + _LETTERS[kind], value)


def _pair(key: str, typed: Typed, order: str) -> bytes:
    kind, value = typed
    start = _text(key, order)
    if not kind.startswith("arr:"):
        return start + struct.pack(order + "I", _TYPES[kind]) + _value(kind, value, order)
    element = kind.removeprefix("arr:")
    assert isinstance(value, Sequence)
    start += struct.pack(order + "IIQ", _TYPES["arr"], _TYPES[element], len(value))
    return start + b"".join(_value(element, item, order) for item in value)


def _gguf(
    metadata: Mapping[str, Typed],
    tensors: Sequence[Tensor] = (),
    *,
    order: str = "<",
    version: int = 3,
    alignment: int = 32,
    offsets: Sequence[int] | None = None,
) -> bytes:
    """A whole file; the data are zeros. `offsets` lies about where tensors start."""
    infos = b""
    offset = 0
    for number, (name, type_id, shape, size_bytes) in enumerate(tensors):
        told = offset if offsets is None else offsets[number]
        infos += _text(name, order) + struct.pack(f"{order}I{len(shape)}Q", len(shape), *shape)
        infos += struct.pack(order + "IQ", type_id, told)
        offset += -(-size_bytes // alignment) * alignment
    header = b"GGUF" + struct.pack(order + "IQQ", version, len(tensors), len(metadata))
    header += b"".join(_pair(key, typed, order) for key, typed in metadata.items()) + infos
    return header + b"\0" * (-len(header) % alignment + offset)


def _safetensors(tensors: Mapping[str, tuple[str, Sequence[int], int]], metadata: object = None) -> bytes:
    header: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    offset = 0
    for name, (dtype, shape, size_bytes) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size_bytes]}
        offset += size_bytes
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * offset


@pytest.fixture(scope="session")
def gguf_bytes() -> Callable[..., bytes]:
    """`gguf_bytes(metadata, tensors, order=, version=, alignment=, offsets=)`: a GGUF file."""
    return _gguf


@pytest.fixture(scope="session")
def safetensors_bytes() -> Callable[..., bytes]:
    """`safetensors_bytes({name: (dtype, shape, bytes)}, metadata)`: a safetensors file."""
    return _safetensors
