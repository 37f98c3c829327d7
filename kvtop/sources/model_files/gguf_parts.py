"""Split GGUF files: `NAME-00001-of-00003.gguf` and its siblings (`llama_split_path`, llama.cpp b11434)."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kvtop.domain.model_file import GgufHeader, ModelFileError

_PART_NAME = re.compile(r"(.*)-([0-9]{5})-of-([0-9]{5})\.gguf", re.DOTALL)


def part_paths(path: str) -> tuple[str, ...]:
    """All parts of the split file that `path` names, in order, whether they exist or not; () for other names."""
    match = _PART_NAME.fullmatch(path)
    if match is None:
        return ()
    prefix, number, total = match[1], int(match[2]), int(match[3])
    if not 1 <= number <= total:
        return ()
    return tuple(f"{prefix}-{part:05d}-of-{total:05d}.gguf" for part in range(1, total + 1))


def split_count(header: GgufHeader) -> int:
    """How many parts the file says that its model has; 1 for a file that is not split."""
    count = header.metadata.get("split.count")
    return count if isinstance(count, int) and count > 1 else 1


def other_parts(header: GgufHeader, given: Sequence[str]) -> tuple[str, ...]:
    """The existing parts of the same model but this one: those in `given`, or siblings by name."""
    count = split_count(header)
    if count == 1:
        return ()
    candidates = tuple(given) or part_paths(header.path)
    if len(candidates) > count:
        raise ModelFileError(f"{header.path}: split.count is {count}, but there are names for {len(candidates)} parts")
    return tuple(path for path in candidates if _is_another(path, header.path))


def _is_another(path: str, known: str) -> bool:
    try:
        return not Path(path).samefile(known)
    except OSError:  # missing or out of reach: merge_parts says so
        return False


def merge_parts(header: GgufHeader, others: Sequence[GgufHeader]) -> GgufHeader:
    """One header for the whole model: metadata of the first part, tensors of all in order, what is missing as notes.

    Raises ModelFileError for parts that contradict each other.
    """
    count = split_count(header)
    if count == 1:
        return header
    numbered = {_number(part): part for part in (header, *others)}
    if len(numbered) <= len(others):
        raise ModelFileError(f"{header.path}: two parts of it carry the same split.no")
    for part in others:
        if split_count(part) != count:
            raise ModelFileError(f"{part.path}: split.count is {split_count(part)}, {header.path} says {count}")
    parts = [numbered[number] for number in sorted(numbered)]
    tensors = tuple(tensor for part in parts for tensor in part.tensors)
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise ModelFileError(f"{header.path}: two parts of it hold a tensor of the same name")
    notes = list(dict.fromkeys(note for part in parts for note in part.notes))
    missing = count - len(parts)
    if missing:
        absent = [str(number + 1) for number in range(count) if number not in numbered]
        shown = ", ".join(absent[:8]) + (" …" if len(absent) > 8 else "")
        notes.append(f"{missing} of {count} parts missing: {shown}")
        if 0 not in numbered:
            notes.append("the first part holds the metadata and is missing")
    expected = parts[0].metadata.get("split.tensors.count")
    if not missing and isinstance(expected, int) and expected != len(tensors):
        notes.append(f"split.tensors.count is {expected}, the parts hold {len(tensors)} tensors")
    return replace(
        parts[0],
        path=header.path,
        tensors=tensors,
        file_size_bytes=sum(part.file_size_bytes for part in parts),
        parts=tuple(part.path for part in parts),
        notes=tuple(notes),
    )


def _number(part: GgufHeader) -> int:
    number = part.metadata.get("split.no")
    if not isinstance(number, int) or not 0 <= number < split_count(part):
        raise ModelFileError(f"{part.path}: split.no is {number!r} of {split_count(part)} parts")
    return number
