"""A snapshot read back: the part of a `kvtop.snapshot/1` file that is compared with another."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from kvtop.domain.answers.comparison import ComparedServer, DeviceHolding, HostState
from kvtop.domain.figure import UNKNOWN, Basis, Figure
from kvtop.domain.memory import Memory, Segment
from kvtop.sources.redaction.redact import clean

SCHEMA = "kvtop.snapshot/1"
LIMIT_BYTES = 64 * 1024 * 1024
_BASES = frozenset(it.value for it in Basis if it is not Basis.UNKNOWN)
_LARGEST = 2**63
"""What is larger is no count of bytes or tokens, and no float can be divided by it."""


class SnapshotFileError(Exception):
    """A file that is no snapshot. str() names it and says what is wrong."""


def read_snapshot(path: Path, name: str, content: bytes | None = None) -> HostState:
    """The comparable part of a snapshot file. Fields that it lacks are unknown. Raises SnapshotFileError.

    `content`: what has been read of it already, where it is a pipe.
    """
    try:
        if content is None:
            with path.open("rb") as file:
                content = file.read(LIMIT_BYTES + 1)  # not its size: a device has none, and no end
        if len(content) > LIMIT_BYTES:
            raise SnapshotFileError(f"{name}: more than {LIMIT_BYTES} bytes, so no snapshot of kvtop")
        document = json.loads(content.decode("utf-8"))
    except OSError as error:
        raise SnapshotFileError(f"{name}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SnapshotFileError(f"{name}: neither a recording nor JSON ({error})") from error
    found = document.get("schema") if isinstance(document, dict) else None
    if found != SCHEMA:
        raise SnapshotFileError(f"{name}: schema {found!r}; this kvtop reads {SCHEMA}")
    return HostState(
        name=name,
        host=_text(document.get("host")) or "?",
        servers=tuple(_server(_object(it)) for it in _list(document.get("servers"))),
        free=tuple(_free(_object(it)) for it in _list(document.get("devices"))),
        taken_at=_time(document.get("taken_at")),
    )


def _server(fields: Mapping[str, object]) -> ComparedServer:
    model, cache = _object(fields.get("model")), _object(fields.get("kv_cache"))
    launch = fields.get("launch")
    slots = fields.get("slots")
    contexts = [_int(_object(slot).get("context_tokens")) for slot in _list(slots)]
    return ComparedServer(
        id=_text(fields.get("id")) or "?",
        engine=_text(fields.get("engine")) or "?",
        version=_text(fields.get("version")),
        model=_text(model.get("name")) or _text(model.get("path")),
        options=_options(launch) if isinstance(launch, dict) else None,
        type_k=_text(cache.get("type_k")),
        type_v=_text(cache.get("type_v")),
        capacity_tokens=_int(cache.get("capacity_tokens")),
        bytes_per_token=_number(cache.get("bytes_per_token")),
        slots=len(contexts) if isinstance(slots, list) else None,
        slot_context_tokens=contexts[0] if contexts else None,
        devices=tuple(_holding(_object(split)) for split in _list(fields.get("memory"))),
        findings=tuple(
            (_text(it.get("code")) or "?", _text(it.get("message")) or "")
            for it in map(_object, _list(fields.get("findings")))
        ),
    )


def _holding(split: Mapping[str, object]) -> DeviceHolding:
    segments = _object(split.get("segments"))
    figures = {
        segment: _figure(_object(segments[segment.value]), "bytes", "basis")
        for segment in Segment
        if segment.value in segments
    }
    total = _figure(split, "driver_bytes", "driver_basis")
    return DeviceHolding(_text(split.get("device")) or "?", total, Memory.of(figures))


def _figure(fields: Mapping[str, object], name: str, basis_name: str) -> Figure:
    """A number whose basis the file does not say is what it reports."""
    value, said = _int(fields.get(name)), fields.get(basis_name)
    known = said if isinstance(said, str) and said in _BASES else Basis.REPORTED.value
    return UNKNOWN if value is None else Figure(value, Basis(known))


def _options(launch: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((clean(str(name)), _text(_object(option).get("value")) or "") for name, option in launch.items())


def _free(device: Mapping[str, object]) -> tuple[str, int | None]:
    return _text(device.get("id")) or "?", _int(_object(device.get("memory")).get("free_bytes"))


def _time(value: object) -> float | None:
    try:
        time = datetime.fromisoformat(value).timestamp() if isinstance(value, str) else None
        return None if time is None else datetime.fromtimestamp(time, UTC).timestamp()  # it can be written again
    except (ValueError, OverflowError):
        return None


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return clean(value) if isinstance(value, str) else None


def _int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _LARGEST and math.isfinite(value) else None
