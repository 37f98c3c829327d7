"""The header of a safetensors file: a length, then JSON that maps names to type, shape and place of the data.

Source: the format's description and limits in huggingface/safetensors (README.md, safetensors/src/tensor.rs, 0.6).
"""

from math import prod

from kvtop.domain.model_file import CheckpointTensor, ModelFileError
from kvtop.sources.model_files.json_object import parse_object
from kvtop.sources.model_files.regular_file import open_regular

HEADER_LIMIT_BYTES = 32 << 20
"""The format allows 100 MB; the longest real headers (every expert a tensor, one file) have about 12 MB."""

_DIMENSION_LIMIT = 32
_LENGTH_BYTES = 8
_LFS_POINTER = b"version "
"""What a file starts with that Git LFS has not fetched."""

DTYPE_BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}


def read_safetensors(path: str) -> tuple[CheckpointTensor, ...]:
    """The tensors of one file in its own order. ModelFileError for a file that is cut short or contradicts itself."""
    with open_regular(path) as (file, size_bytes):
        start = file.read(_LENGTH_BYTES)
        if start == _LFS_POINTER:
            raise ModelFileError(f"{path}: a Git LFS pointer, the file itself was not downloaded")
        header_bytes = int.from_bytes(start, "little")
        if len(start) < _LENGTH_BYTES or header_bytes > size_bytes - _LENGTH_BYTES:
            raise ModelFileError(f"{path}: truncated: the header takes {header_bytes} of {size_bytes} bytes")
        if header_bytes > HEADER_LIMIT_BYTES:
            raise ModelFileError(f"{path}: a header of {header_bytes} bytes (at most {HEADER_LIMIT_BYTES} are read)")
        header = parse_object(file.read(header_bytes), path)
    data_bytes = size_bytes - _LENGTH_BYTES - header_bytes
    header.pop("__metadata__", None)
    found = [_tensor(path, name, entry, data_bytes) for name, entry in header.items()]
    covered = 0
    for begin, tensor in sorted(found, key=lambda pair: (pair[0], pair[1].size_bytes)):
        if begin != covered:  # the format allows neither holes nor overlaps
            raise ModelFileError(f"{path}: {tensor.name!r} begins at byte {begin} of the data, expected {covered}")
        covered += tensor.size_bytes
    if covered != data_bytes:
        raise ModelFileError(f"{path}: {data_bytes} bytes of data, the tensors take {covered}")
    return tuple(tensor for _, tensor in found)


def _tensor(path: str, name: str, entry: object, data_bytes: int) -> tuple[int, CheckpointTensor]:
    """Where its data begins, and the tensor."""
    dtype = entry.get("dtype") if isinstance(entry, dict) else None
    shape = _naturals(entry.get("shape")) if isinstance(entry, dict) else None
    offsets = _naturals(entry.get("data_offsets")) if isinstance(entry, dict) else None
    if not isinstance(dtype, str) or shape is None or offsets is None or len(offsets) != 2:
        raise ModelFileError(f"{path}: {name!r} has no believable dtype, shape and data_offsets")
    begin, end = offsets
    if begin > end:
        raise ModelFileError(f"{path}: {name!r} ends before it begins")
    if end > data_bytes:
        raise ModelFileError(f"{path}: truncated: {name!r} ends at byte {end} of {data_bytes} bytes of data")
    bits = DTYPE_BITS.get(dtype)
    if bits is not None and prod(shape) * bits != (end - begin) * 8:
        raise ModelFileError(f"{path}: {name!r} is {dtype} of shape {shape}, but has {end - begin} bytes")
    return begin, CheckpointTensor(name, dtype, shape, end - begin)


def _naturals(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(value) > _DIMENSION_LIMIT:
        return None
    # `type(...) is int` and not isinstance: JSON's true is no number.
    numbers = tuple(number for number in value if type(number) is int and 0 <= number < 1 << 63)
    return numbers if len(numbers) == len(value) else None
