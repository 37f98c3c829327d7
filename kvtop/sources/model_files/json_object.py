"""A JSON object out of bytes that may be anything."""

import json

from kvtop.domain.model_file import ModelFileError
from kvtop.sources.model_files.regular_file import open_regular


def read_object(path: str, limit_bytes: int) -> dict[str, object]:
    """The object that a JSON file holds. ModelFileError when it is unreadable, too long or holds something else."""
    with open_regular(path) as (file, size_bytes):
        if size_bytes > limit_bytes:
            raise ModelFileError(f"{path}: {size_bytes} bytes of JSON (at most {limit_bytes} are read)")
        return parse_object(file.read(), path)


def parse_object(text: bytes, path: str) -> dict[str, object]:
    """The object in `text`, which came from `path`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: syntax, encoding, numbers of thousands of digits
        raise ModelFileError(f"{path}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelFileError(f"{path}: holds JSON, but not an object")
    return value
