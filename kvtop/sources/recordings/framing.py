"""The records of a recording in bytes: how they are written, and how they are found again."""

import re
import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from zlib import crc32

from kvtop.sources.recordings.file_bytes import FileBytes, RecordingError

__all__ = ["Content", "Place", "RecordIndex", "RecordingError", "body_offset", "record", "record_index", "rising"]

MAJOR, MINOR = 1, 0
FIRST_LINE = f"kvtop.recording/{MAJOR}.{MINOR}\n".encode("ascii")
INFO, MODEL, KEY_TICK, TICK = b"I"[0], b"M"[0], b"K"[0], b"D"[0]
Content = bytes | FileBytes
"""A recording in memory, or in its file."""
HEAD = struct.Struct("<BIId")
RECORD_LIMIT_BYTES = 256 * 1024 * 1024
TICK_LIMIT_BYTES = 8 * 1024 * 1024
"""One tick unpacked: some 2,000 servers. As values it takes fifty times as much memory, and anybody may send one."""
LAST_TIME = 253_000_000_000.0
"""Unix time in seconds, in the year 9987: a later one is no time that a calendar can write."""
_KINDS = frozenset({INFO, MODEL, KEY_TICK, TICK})
_ANY_KIND = re.compile(rb"[IMKD]")
_SEARCHED_BYTES = 16 * 1024 * 1024
"""How far behind a damaged head the next record is looked for, and how many bytes are checked for being one."""
_LINE = re.compile(rb"kvtop\.recording/(\d{1,6})\.(\d{1,6})\n")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record's payload lies in the file."""

    offset: int
    length: int
    checksum: int

    def payload(self, content: Content) -> bytes | None:
        """The payload, or None where it does not match its checksum."""
        payload = bytes(content[self.offset : self.offset + self.length])
        return payload if len(payload) == self.length and crc32(payload) == self.checksum else None


@dataclass(frozen=True, slots=True)
class RecordIndex:
    """A recording's records in order. `key_of[i]` is the number of the tick whose stream tick `i` belongs to.

    `cut_bytes` are left over at the end: a record that was being written when the writer died.
    """

    info: Place | None
    models: tuple[Place, ...]
    ticks: tuple[Place, ...]
    times: tuple[float, ...]
    key_of: tuple[int, ...]
    cut_bytes: int


def record(kind: int, taken_at: float, payload: bytes) -> bytes:
    """One record, ready to be appended."""
    return HEAD.pack(kind, len(payload), crc32(payload), taken_at) + payload


def body_offset(content: Content, name: str) -> int:
    """Where the records begin. Raises RecordingError for another kind of file or an unknown major version."""
    match = _LINE.match(bytes(content[:40]))
    if match is None:
        raise RecordingError(f"{name}: not a kvtop recording: its first line is not kvtop.recording/{MAJOR}.{MINOR}")
    if int(match[1]) != MAJOR:
        raise RecordingError(
            f"{name}: a recording of format {int(match[1])}.{int(match[2])}; this kvtop reads format {MAJOR}"
            + (": upgrade kvtop to read it" if int(match[1]) > MAJOR else "")
        )
    return match.end()


def record_index(content: Content, name: str) -> RecordIndex:
    """Find every record. Only heads are looked at: a day of ticks is found in a fraction of a second.

    Behind a head that cannot be one the next whole record is looked for, so that a damaged length loses its stretch
    alone. Models are known by their number in the file: of those behind a loss nobody knows it any more.
    """
    at, end = body_offset(content, name), len(content)
    found: list[_Record] = []
    models_end: int | None = None
    while at + HEAD.size <= end:
        here = _record_at(content, at, end)
        if here is not None:
            found.append(here)
            at = here.place.offset + here.place.length
            continue
        if found and not found[-1].is_after_loss and found[-1].place.payload(content) is None:
            at = found.pop().at  # its own length is what is wrong
        following = _next_record(content, at + 1, end)
        if following is None:
            break
        models_end = sum(it.kind == MODEL for it in found) if models_end is None else models_end
        found.append(following)
        at = following.place.offset + following.place.length
    ticks: list[Place] = []
    taken: list[float] = []
    key_of: list[int] = []
    key = -1
    for it in found:
        key = -1 if it.is_after_loss else key
        if it.kind in {TICK, KEY_TICK}:
            key = len(ticks) if it.kind == KEY_TICK else key
            if key >= 0:
                ticks.append(it.place)
                taken.append(it.taken_at)
                key_of.append(key)
    models = [it.place for it in found if it.kind == MODEL][:models_end]
    info = next((it.place for it in found if it.kind == INFO), None)
    return RecordIndex(info, tuple(models), tuple(ticks), rising(taken), tuple(key_of), end - at)


@dataclass(frozen=True, slots=True)
class _Record:
    at: int
    kind: int
    place: Place
    taken_at: float
    is_after_loss: bool = False


def _record_at(content: Content, at: int, end: int) -> _Record | None:
    """The record there. None where there can be none; one of a later version, of an unknown kind, has to be whole."""
    head = content[at : at + HEAD.size]
    if len(head) < HEAD.size:
        return None  # cut since it was opened
    kind, length, checksum, taken_at = HEAD.unpack(head)
    start = at + HEAD.size
    if length > RECORD_LIMIT_BYTES or start + length > end:
        return None
    place = Place(start, length, checksum)
    if kind not in _KINDS and place.payload(content) is None:
        return None
    return _Record(at, kind, place, taken_at)


def _next_record(content: Content, at: int, end: int) -> _Record | None:
    """The first whole record from there on; None where none is within reach."""
    window = bytes(content[at : min(end, at + _SEARCHED_BYTES)])
    checked_bytes = 0
    for match in _ANY_KIND.finditer(window):
        here = _record_at(content, at + match.start(), end)
        if here is None:
            continue
        checked_bytes += here.place.length
        if checked_bytes > _SEARCHED_BYTES:
            return None
        if here.place.payload(content) is not None:
            return replace(here, is_after_loss=True)
    return None


def rising(taken: Sequence[float]) -> tuple[float, ...]:
    """Times that never fall: as many as possible as they are, the others those of the tick before (or after) them.

    A clock that jumps ahead and back gives wrong times to the ticks between; one that is set back stands still.
    """
    tails: list[float] = []
    ends: list[int] = []
    before: list[int] = []
    for number, time in enumerate(taken):
        if not 0.0 <= time <= LAST_TIME:
            before.append(-2)
            continue
        at = bisect_right(tails, time)
        before.append(ends[at - 1] if at else -1)
        tails[at : at + 1] = [time]
        ends[at : at + 1] = [number]
    kept: set[int] = set()
    number = ends[-1] if ends else -1
    while number >= 0:
        kept.add(number)
        number = before[number]
    latest = taken[min(kept)] if kept else 0.0
    times = []
    for number, time in enumerate(taken):
        latest = time if number in kept else latest
        times.append(latest)
    return tuple(times)
