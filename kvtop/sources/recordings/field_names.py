"""How values stand in a recording: under the names of the format, whatever the domain calls its fields today.

A recording is read for ever, so its names are not the dataclasses' names by accident. A field that the domain renames
gets a line in `RECORDED_AS`; it is then written and read under the name that it has always had.
"""

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from kvtop.domain.device import Device
from kvtop.domain.engine_report import RankReport
from kvtop.domain.server import ServerReading
from kvtop.sources.recordings.device_record import DEVICE_RECORD, device_of, record_of
from kvtop.sources.recordings.rank_report_record import RANK_REPORT_RECORD, record_of_report, report_of_record

RECORDED_AS: Mapping[type, Mapping[str, str]] = {
    ServerReading: {"concurrent_sequences_limit": "sequence_limit"},
}
"""Dataclass -> its field -> the field's name in files. What is not listed has the same name in both."""


@dataclass(frozen=True, slots=True)
class Form:
    """How values of one type stand in a file: the `shape` that is decoded, and the ways there and back.

    `kind` is the type in the domain. `write` and `read` are None where the value itself is what is written.
    """

    kind: Any
    shape: Any
    write: Callable[[Any], object] | None = None
    read: Callable[[Any], Any] | None = None


_OWN = {
    Device: Form(Device, DEVICE_RECORD, record_of, device_of),
    RankReport: Form(RankReport, RANK_REPORT_RECORD, record_of_report, report_of_record),
}


@lru_cache(maxsize=256)
def form_of(hint: Any) -> Form:  # noqa: ANN401  any annotation of a domain dataclass
    """The form of a type. Raises TypeError for a renamed field within a container that no recording has had yet."""
    if hint in _OWN:
        return _OWN[hint]
    if isinstance(hint, type) and is_dataclass(hint):
        return _dataclass_form(hint)
    inner = [form_of(it) for it in get_args(hint) if it is not Ellipsis]
    changed = [it for it in inner if it.write is not None]
    if not changed:
        return Form(hint, hint)
    origin = get_origin(hint)
    if origin is tuple and get_args(hint)[1:] == (Ellipsis,):
        return _tuple_form(hint, changed[0])
    if origin in {Union, types.UnionType} and len(changed) == 1:
        return _union_form(hint, inner, changed[0])
    raise TypeError(f"{hint}: recordings have no form for a renamed field within it")


def _dataclass_form(kind: type) -> Form:
    names, hints = RECORDED_AS.get(kind, {}), get_type_hints(kind)
    forms = {each.name: form_of(hints[each.name]) for each in fields(kind)}
    if not names and all(it.write is None for it in forms.values()):
        return Form(kind, kind)
    shape: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for each in fields(kind):
        if each.default is not MISSING:
            shape.append((each.name, forms[each.name].shape, each.default))
        elif each.default_factory is not MISSING:
            shape.append((each.name, forms[each.name].shape, msgspec.field(default_factory=each.default_factory)))
        else:
            shape.append((each.name, forms[each.name].shape))
    ways = [(name, names.get(name, name), form.write, form.read) for name, form in forms.items()]

    def write(value: Any) -> object:  # noqa: ANN401  of `kind`
        found = ((recorded, way, getattr(value, name)) for name, recorded, way, _ in ways)
        return {recorded: it if way is None else way(it) for recorded, way, it in found}

    def read(record: Any) -> Any:  # noqa: ANN401  of the shape
        found = ((name, way, getattr(record, name)) for name, _, _, way in ways)
        return kind(**{name: it if way is None else way(it) for name, way, it in found})

    return Form(kind, msgspec.defstruct(f"Recorded{kind.__name__}", shape, rename=dict(names)), write, read)


def _tuple_form(hint: Any, element: Form) -> Form:  # noqa: ANN401  see form_of
    write, read = element.write, element.read
    assert write is not None, "only asked for elements that change"
    assert read is not None, "both ways or none"
    shape = types.GenericAlias(tuple, (element.shape, ...))
    return Form(hint, shape, lambda value: tuple(map(write, value)), lambda record: tuple(map(read, record)))


def _union_form(hint: Any, inner: list[Form], changed: Form) -> Form:  # noqa: ANN401  see form_of
    write, read = changed.write, changed.read
    assert write is not None, "only asked for members that change"
    assert read is not None, "both ways or none"
    return Form(
        hint,
        Union[tuple(it.shape for it in inner)],  # noqa: UP007  made of a list
        lambda value: write(value) if isinstance(value, changed.kind) else value,
        lambda record: read(record) if isinstance(record, changed.shape) else record,
    )
