"""One value of one option as llama-server b11434 understands it, or its own words for why it does not."""

import re

from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.llamacpp.options.overrides import csv_fields, overrides_of
from kvtop.planning.llamacpp.options.rules import (
    AUTO,
    CHOICES,
    FALSE,
    PRIVATE,
    RANGES,
    REMOVED,
    SECRETS,
    SPECULATIVE_TYPES,
    TRUE,
)
from kvtop.planning.llamacpp.options.table import OptionSpec

MASK = "***"
"""Stands for a value that kvtop never keeps."""

_WHOLE = re.compile(r"[ \t-\r]*([+-]?[0-9]+)")
_REAL = re.compile(r"[ \t-\r]*([+-]?(?:[0-9]+\.?[0-9]*(?:e[+-]?[0-9]+)?|\.[0-9]+(?:e[+-]?[0-9]+)?))", re.IGNORECASE)
_SPECIAL_REAL = re.compile(r"[ \t-\r]*[+-]?(?:inf|nan|0x[0-9a-f])", re.IGNORECASE)
_MOST_DIGITS = 20
_FLOAT_MIN, _FLOAT_MAX = 1.17549435e-38, 3.4028235677973366e38
_CACHE_TYPE_OPTIONS = frozenset({"cache-type-k", "cache-type-v", "spec-draft-type-k", "spec-draft-type-v"})


class BadValueError(ValueError):
    """The engine's own words for a value it will not take."""


def checked(spec: OptionSpec, value: str) -> str:
    """The value as kept: canonical where several spellings mean the same. Raises BadValueError."""
    if spec.name in SECRETS or spec.name in PRIVATE:
        return MASK
    if spec.kind in {"int", "removed"}:
        return _whole_in_range(spec.name, value)
    if spec.kind == "uint":
        return str(whole(value, "stoul", 64))
    if spec.kind == "layers":
        return value if value in {"auto", "all"} else str(whole(value))
    if spec.kind == "float":
        real(value)
        return value
    return _text(spec.name, value)


def whole(text: str, function: str = "stoi", bits: int = 31) -> int:
    """The leading digits, as C++ converts them; what follows is ignored. Raises BadValueError(function)."""
    match = _WHOLE.match(text)
    # The length first: Python refuses to convert thousands of digits.
    if match is None or len(match[1].lstrip("+-0")) > _MOST_DIGITS:
        raise BadValueError(function)
    number = int(match[1][0:1].strip("0123456789") + (match[1].lstrip("+-0") or "0"))
    if not -(2**bits) <= number < 2**bits:
        raise BadValueError(function)
    return number


def real(text: str) -> float:
    """The leading number, as std::stof converts it. Raises BadValueError("stof")."""
    if _SPECIAL_REAL.match(text):
        return float("inf")
    match = _REAL.match(text)
    if match is None:
        raise BadValueError("stof")
    value = float(match[1])
    if value and not _FLOAT_MIN <= abs(value) <= _FLOAT_MAX:
        raise BadValueError("stof")
    return value


def split_list(text: str) -> list[str]:
    """A list at runs of `,` and `/`: a trailing separator adds nothing, a leading one an empty item."""
    items = re.split(r"[,/]+", text)
    return items[:-1] if len(items) > 1 and items[-1] == "" else items


def _whole_in_range(name: str, value: str) -> str:
    number = whole(value)
    if name in REMOVED:
        raise BadValueError(f"the argument has been removed. {REMOVED[name]}")
    if name in RANGES:
        least, greatest, words = RANGES[name]
        if not least <= number <= greatest:
            raise BadValueError(words)
    if name == "parallel" and number == 0:
        raise BadValueError("error: invalid value for n_parallel")
    if name == "sleep-idle-seconds" and (number == 0 or number < -1):
        raise BadValueError("invalid value: cannot be 0 or less than -1")
    return str(number)


def _text(name: str, value: str) -> str:
    if name in CHOICES and value not in CHOICES[name]:
        raise BadValueError("invalid value")
    if name in _CACHE_TYPE_OPTIONS and value not in CACHE_TYPES:
        raise BadValueError(f"Unsupported cache type: {value}")
    if name in {"flash-attn", "reasoning", "log-colors"}:
        return _state(name, value, with_auto=True)
    if name == "fit":
        return _state(name, value, with_auto=False)
    if name == "host" and not value:
        raise BadValueError("--host requires at least one address")
    _refuse_items(name, value)
    return value


def _refuse_items(name: str, value: str) -> None:
    """The first complaint about an item of a list."""
    if name == "tensor-split":
        for item in split_list(value):
            real(item)
    elif name == "fit-target":
        for item in split_list(value):
            whole(item, "stoull", 64)
    elif name == "spec-type":
        for kind in value.split(","):
            if kind not in SPECULATIVE_TYPES:
                raise BadValueError(f"unknown speculative type: {kind}")
    elif name in {"lora-scaled", "control-vector-scaled"}:
        _refuse_scales(name, value)
    elif name == "override-kv":
        _refuse_overrides(value)
    elif name in {"override-tensor", "spec-draft-override-tensor"} and any("=" not in it for it in value.split(",")):
        raise BadValueError("invalid value")


def _refuse_scales(name: str, value: str) -> None:
    for item in csv_fields(value):
        _, *scales = item.split(":")
        if len(scales) != 1:
            raise BadValueError(f"{name} format: FNAME:SCALE")
        real(scales[0])


def _refuse_overrides(value: str) -> None:
    try:
        overrides_of(value)
    except ValueError as error:
        raise BadValueError(f"error: Invalid type for KV override: {error}") from error


def _state(name: str, value: str, *, with_auto: bool) -> str:
    if value in TRUE:
        return "on"
    if value in FALSE:
        return "off"
    if with_auto and value in AUTO:
        return "auto"
    raise BadValueError(f"error: unknown value for --{name}: '{value}'")
