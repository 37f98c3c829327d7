"""Rewriting every text of a frozen value: what masks, cleans or anonymises a whole Sample in one walk."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
_PLAIN = frozenset({int, float, bool, type(None)})
"""Most values of a Sample: there is no text in them."""


def with_texts(value: T, rewrite: Callable[[str], str], special: Mapping[type, Callable[[object], object]]) -> T:
    """The same value with `rewrite` applied to each text in it, at any depth of tuples, mappings and dataclasses.

    Members of enumerations are words of ours and stay. A type in `special` is handed to its own function instead. What
    does not change is the same object as before.
    """
    return cast("T", _walk(value, rewrite, special))


def _walk(value: object, rewrite: Callable[[str], str], special: Mapping[type, Callable[[object], object]]) -> object:
    kind = type(value)
    if kind in _PLAIN:
        return value
    own = special.get(kind)
    if own is not None:
        return own(value)
    if kind is str:  # not isinstance: a StrEnum is a str too
        return rewrite(cast("str", value))
    if isinstance(value, tuple):
        items = tuple(_walk(item, rewrite, special) for item in value)
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    if isinstance(value, list):
        return [_walk(item, rewrite, special) for item in value]
    if isinstance(value, Mapping):
        return {_walk(key, rewrite, special): _walk(item, rewrite, special) for key, item in value.items()}
    changed = {}
    for name in _field_names(kind):
        old = getattr(value, name)
        new = _walk(old, rewrite, special)
        if new is not old:
            changed[name] = new
    return replace(cast("DataclassInstance", value), **changed) if changed else value


_FIELD_NAMES: dict[type, tuple[str, ...]] = {}
"""Of every type that was walked: asking a dataclass for its fields takes longer than walking them."""


def _field_names(kind: type) -> tuple[str, ...]:
    """Of a dataclass; of any other type there are none to walk."""
    known = _FIELD_NAMES.get(kind)
    if known is None:
        known = _FIELD_NAMES[kind] = tuple(each.name for each in fields(kind)) if is_dataclass(kind) else ()
    return known
