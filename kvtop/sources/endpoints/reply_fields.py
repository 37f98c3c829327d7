"""Fields out of the replies of servers: whatever they hold, the answer is a value of the right type or None."""

import json
from collections.abc import Mapping

from kvtop.sources.endpoints.http import Reply
from kvtop.sources.redaction.redact import clean
from kvtop.text import INT64_MAX


def json_of(reply: Reply | None) -> object:
    """The value of a 200 reply; None where there is none or it is no JSON."""
    return parsed(reply) if reply is not None and reply.status == 200 else None


def parsed(reply: Reply) -> object:
    """The JSON value of a reply whatever its status; None where it is no JSON."""
    try:
        value: object = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    return value


def object_of(value: object) -> Mapping[str, object]:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: object) -> list[object]:
    """`value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def whole(value: object) -> int | None:
    """`value` if it is a whole number of 0 or more that fits in 64 bits: no server counts further."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= INT64_MAX else None


def real(value: object) -> float | None:
    """`value` if it is a finite number of 0 or more that a 64-bit counter could hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if 0 <= number < INT64_MAX else None  # false for NaN as well


def whole_product(*factors: float | None) -> int | None:
    """The product of numbers of a reply as a whole number; None where one of them is unknown or 0, or it is too big."""
    product = 1.0
    for factor in factors:
        if not factor:
            return None
        product *= factor
    return whole(int(product)) if product < INT64_MAX else None


def text(value: object) -> str | None:
    """`value` if it is a text that says something, safe to draw."""
    return clean(value) if isinstance(value, str) and value else None


def first_model(reply: Reply | None) -> Mapping[str, object]:
    """The first entry of `/v1/models`, or an empty object."""
    rows = list_of(object_of(json_of(reply)).get("data"))
    return object_of(rows[0]) if rows else {}
