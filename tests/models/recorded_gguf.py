"""Recorded models at their real size as GGUF files whose data is a hole: a few hundred KiB on disk."""

import gzip
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.oracle.cases import FIXTURE, TYPES

_VALUE_TYPES = {"u32": (4, "<I"), "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<?"), "u64": (10, "<Q")}
_ALIGNMENT = 32


def write_recorded(path: Path, name: str, *, fixture: Path = FIXTURE, experts: str = "") -> Path:
    """The model of that name in `fixtures/oracle/llamacpp.json.gz`, with every key and every tensor it has.

    `fixture` is another file of such models; `experts` gives the matrices of experts another type.
    """
    model = json.loads(gzip.decompress(fixture.read_bytes()))["models"][name]
    tensors = [
        (tensor, experts if experts and tensor.endswith("_exps.weight") else kind, shape)
        for tensor, kind, shape in _expanded(model["tensors"])
    ]
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(model["kv"]))
    for key, (kind, value) in model["kv"].items():
        header += _text(key) + _typed(kind, value)
    offset = 0
    for tensor, kind, shape in tensors:
        type_id, block_values, block_bytes = TYPES[kind]
        values = 1
        for extent in shape:
            values *= extent
        extents = struct.pack(f"<{len(shape)}Q", *shape)
        header += _text(tensor) + struct.pack("<I", len(shape)) + extents + struct.pack("<IQ", type_id, offset)
        offset += -(-(values // block_values * block_bytes) // _ALIGNMENT) * _ALIGNMENT
    header += b"\0" * (-len(header) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + offset)
    return path


def _expanded(rows: list[Any]) -> Iterator[tuple[str, str, list[int]]]:
    for pattern, kind, shape, layers in rows:
        for entry in layers or [None]:
            for layer in range(entry[0], entry[1] + 1) if isinstance(entry, list) else (entry,):
                yield pattern.replace("{i}", str(layer)), kind, shape


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _typed(kind: str, value: Any) -> bytes:  # noqa: ANN401  as JSON has it
    if kind == "str":
        return struct.pack("<I", 8) + _text(value)
    if kind.startswith("arr:"):
        element, form = _VALUE_TYPES[kind[4:]]
        return struct.pack("<IIQ", 9, element, len(value)) + b"".join(struct.pack(form, one) for one in value)
    number, form = _VALUE_TYPES[kind]
    return struct.pack("<I", number) + struct.pack(form, value)
