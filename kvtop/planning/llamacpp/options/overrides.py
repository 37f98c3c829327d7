"""`--override-kv`: metadata that a person puts in place of the file's (common/common.cpp, src/llama-model-loader.cpp).

A value counts where the key is missing or has the same type; of several for one key the first counts. Arrays stay.
"""

import re
from dataclasses import replace

from kvtop.domain.model_file import GgufHeader, Scalar

_MOST_KEY_CHARACTERS, _MOST_TEXT_CHARACTERS = 127, 127
_UNSIGNED = 2**32


def overrides_of(text: str) -> tuple[tuple[str, Scalar], ...]:
    """(key, value) of each `KEY=TYPE:VALUE`. Raises ValueError(item) for one that the engine would not take."""
    return tuple(_override(item) for item in csv_fields(text))


def _override(item: str) -> tuple[str, Scalar]:
    key, _, typed = item.partition("=")
    kind, colon, value = typed.partition(":")
    is_good = len(key) <= _MOST_KEY_CHARACTERS and bool(colon)
    if is_good and kind == "int":
        digits = re.match(r"\s*([+-]?[0-9]{1,18})", value)
        return key, int(digits[1]) % _UNSIGNED if digits else 0
    if is_good and kind == "float":
        number = re.match(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)", value)
        return key, float(number[1]) if number else 0.0
    if is_good and kind == "bool" and value in {"true", "false"}:
        return key, value == "true"
    if is_good and kind == "str" and len(value.encode()) <= _MOST_TEXT_CHARACTERS:
        return key, value
    raise ValueError(item)


def csv_fields(text: str) -> list[str]:
    """A row of comma-separated values: a quote at the start of a field keeps its commas (parse_csv_row)."""
    fields, field, is_quoted, index = [], "", False, 0
    while index < len(text):
        character = text[index]
        if character == '"' and (is_quoted or not field):
            if is_quoted and text[index + 1 : index + 2] == '"':
                field, index = field + '"', index + 1
            else:
                is_quoted = not is_quoted
        elif character == "," and not is_quoted:
            fields.append(field)
            field = ""
        else:
            field += character
        index += 1
    return [*fields, field]


def overridden_header(header: GgufHeader, text: str | None) -> GgufHeader:
    """The header as the engine reads it under these overrides; None: there are none. Raises ValueError."""
    if text is None:
        return header
    metadata = dict(header.metadata)
    given: set[str] = set()
    for key, value in overrides_of(text):
        there = header.metadata.get(key)
        if key not in given and (there is None or type(there) is type(value)):
            metadata[key] = value
        given.add(key)
    return replace(header, metadata=metadata)
