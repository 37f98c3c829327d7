"""The records of a recording in bytes: how they are written, and how they are found again."""

import re
import struct
from dataclasses import dataclass
from zlib import crc32

from kvtop.sources.recordings.file_bytes import FileBytes, RecordingError

__all__ = ["Content", "Place", "RecordIndex", "RecordingError", "body_offset", "record", "record_index"]

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
    """Find every record. Only heads are looked at: a day of ticks is found in a fraction of a second."""
    info: Place | None = None
    models: list[Place] = []
    ticks: list[Place] = []
    times: list[float] = []
    key_of: list[int] = []
    at, end, key = body_offset(content, name), len(content), -1
    latest = 0.0
    unpack, head_bytes = HEAD.unpack, HEAD.size
    while at + head_bytes <= end:
        head = content[at : at + head_bytes]
        if len(head) < head_bytes:
            break  # cut since it was opened
        kind, length, checksum, taken_at = unpack(head)
        start = at + head_bytes
        if length > RECORD_LIMIT_BYTES or start + length > end:
            break
        at = start + length
        if kind in {TICK, KEY_TICK}:
            key = len(ticks) if kind == KEY_TICK else key
            if key >= 0:
                ticks.append(Place(start, length, checksum))
                latest = taken_at if latest < taken_at <= LAST_TIME else latest
                times.append(latest)
                key_of.append(key)
        elif kind == MODEL:
            models.append(Place(start, length, checksum))
        elif kind == INFO and info is None:
            info = Place(start, length, checksum)
    return RecordIndex(info, tuple(models), tuple(ticks), tuple(times), tuple(key_of), end - at)
