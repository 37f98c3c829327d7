"""Rewriting every text of a frozen value: what masks, cleans or anonymises a whole Sample in one walk."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar, cast

T = TypeVar("T")


def with_texts(value: T, rewrite: Callable[[str], str], special: Mapping[type, Callable[[object], object]]) -> T:
    """The same value with `rewrite` applied to each text in it, at any depth of tuples, mappings and dataclasses.

    Members of enumerations are words of ours and stay. A type in `special` is handed to its own function instead. What
    does not change is the same object as before.
    """
    return cast("T", _walk(value, rewrite, special))


def _walk(value: object, rewrite: Callable[[str], str], special: Mapping[type, Callable[[object], object]]) -> object:
    own = special.get(type(value))
    if own is not None:
        return own(value)
    if type(value) is str:  # not isinstance: a StrEnum is a str too
        return rewrite(value)
    if isinstance(value, tuple):
        items = tuple(_walk(item, rewrite, special) for item in value)
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    if isinstance(value, list):
        return [_walk(item, rewrite, special) for item in value]
    if isinstance(value, Mapping):
        return {_walk(key, rewrite, special): _walk(item, rewrite, special) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        changed = {}
        for each in fields(value):
            old = getattr(value, each.name)
            new = _walk(old, rewrite, special)
            if new is not old:
                changed[each.name] = new
        return replace(value, **changed) if changed else value
    return value
