"""JSON Schema (draft 2020-12) of TypedDicts: what documents are made of, and nothing more.

Not pydantic: for TypedDicts it needs typing_extensions on Python 3.11, whose import takes a tenth of a snapshot's time.
"""

import types
import typing
from inspect import cleandoc

Json = dict[str, object]
_PLAIN: dict[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def schema_of(documents: tuple[type, ...]) -> Json:
    """The schema that any one of these documents keeps; what they are made of stands under `$defs`."""
    definitions: dict[str, Json] = {}
    if len(documents) == 1:
        schema = _members(documents[0], definitions)
    else:
        schema = {"anyOf": [_schema(document, definitions) for document in documents]}
    return {**({"$defs": dict(sorted(definitions.items()))} if definitions else {}), **schema}


def _schema(wanted: object, definitions: dict[str, Json]) -> Json:
    """The schema of one annotation. Raises TypeError for one that no document may have."""
    if typing.is_typeddict(wanted):
        assert isinstance(wanted, type)
        if wanted.__name__ not in definitions:
            definitions[wanted.__name__] = {}  # it may hold itself
            definitions[wanted.__name__] = _members(wanted, definitions)
        return {"$ref": f"#/$defs/{wanted.__name__}"}
    if wanted in _PLAIN:
        return {"type": _PLAIN[wanted]}
    if wanted is object:
        return {}
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in {types.UnionType, typing.Union}:
        return {"anyOf": [_schema(it, definitions) for it in inner]}
    if origin is list:
        return {"type": "array", "items": _schema(inner[0], definitions)}
    if origin is dict and inner[0] is str:
        return {"type": "object", "additionalProperties": _schema(inner[1], definitions) or True}
    if origin is typing.NotRequired:
        return _schema(inner[0], definitions)
    raise TypeError(f"{wanted} has no JSON Schema here")


def _members(wanted: type, definitions: dict[str, Json]) -> Json:
    """The schema of a TypedDict itself. Its own docstring is the description."""
    hints = typing.get_type_hints(wanted, include_extras=True)
    required: frozenset[str] = wanted.__required_keys__  # type: ignore[attr-defined]
    found: Json = {"title": wanted.__name__, "type": "object"}
    if wanted.__doc__:
        found["description"] = cleandoc(wanted.__doc__)
    found["properties"] = {name: _schema(hint, definitions) for name, hint in hints.items()}
    found["required"] = [name for name in hints if name in required]
    return found
