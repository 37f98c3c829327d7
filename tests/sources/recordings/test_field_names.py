"""The names in a recording belong to its format: what the domain renames is read and written as it has always been."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from msgspec import inspect

from kvtop.domain.server import ServerReading
from kvtop.sources.demo import scenario
from kvtop.sources.recordings import encoding
from kvtop.sources.recordings.encoding import decode_tick, encode_tick
from kvtop.sources.recordings.field_names import RECORDED_AS, form_of

PINNED = Path(__file__).parents[2] / "fixtures" / "recordings" / "field_names.txt"
"""Every name that a tick, a model or the record of the writer has had, a path a line. KVTOP_ACCEPT=1 adds new ones."""


def paths(kind: inspect.Type, path: str) -> Iterator[str]:
    """The names below a type as msgspec reads and writes them: "servers[].pools[].used_tokens"."""
    match kind:
        case inspect.StructType() | inspect.DataclassType():
            for each in kind.fields:
                below = f"{path}.{each.encode_name}" if path else each.encode_name
                yield below
                yield from paths(each.type, below)
        case inspect.VarTupleType() | inspect.ListType():
            yield from paths(kind.item_type, f"{path}[]")
        case inspect.TupleType():
            for each_type in kind.item_types:
                yield from paths(each_type, f"{path}[]")
        case inspect.DictType():
            yield from paths(kind.value_type, f"{path}{{}}")
        case inspect.UnionType():
            for each_type in kind.types:
                yield from paths(each_type, path)


def names_now() -> set[str]:
    kinds = {"tick": encoding._TICK, "model": encoding._Model, "info": encoding.Info}
    return {f"{name} {it}" for name, kind in kinds.items() for it in paths(inspect.type_info(kind), "")}


def test_no_name_of_a_recording_vanishes() -> None:
    now, pinned = names_now(), set(PINNED.read_text(encoding="utf-8").splitlines())
    if os.environ.get("KVTOP_ACCEPT"):
        PINNED.write_text("".join(f"{it}\n" for it in sorted(now | pinned)), encoding="utf-8")
    assert pinned - now == set(), "a renamed field needs a line in RECORDED_AS, or old recordings lose it"


def test_a_renamed_field_is_written_and_read_under_its_first_name() -> None:
    sample = scenario("h100x8_vllm_tp").at(8.0)
    limited = replace(sample, servers=tuple(replace(it, concurrent_sequences_limit=8) for it in sample.servers))
    content = encode_tick(limited, {})
    for server in msgspec.msgpack.decode(content)["servers"]:
        assert server["sequence_limit"] == 8
        assert "concurrent_sequences_limit" not in server
    assert decode_tick(content, {}, "x").servers == limited.servers


def test_every_renamed_field_exists() -> None:
    for kind, names in RECORDED_AS.items():
        assert names.keys() <= {each.name for each in msgspec.structs.fields(form_of(kind).shape)}


def test_a_container_without_a_form_is_refused() -> None:
    with pytest.raises(TypeError, match="no form for a renamed field"):
        form_of(dict[str, ServerReading])
