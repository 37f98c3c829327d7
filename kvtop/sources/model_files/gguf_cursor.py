"""A position in a GGUF header that never believes a number before it was held against the file."""

import struct
from collections.abc import Callable
from typing import NoReturn

from kvtop.domain.model_file import ModelFileError, Scalar
from kvtop.sources.model_files.gguf_types import ValueType

BUILT_LIMIT_BYTES = 8 << 20
"""How much of one header may become Python values. Real ones need some 100 KB; a sparse file may claim GBs."""

_WINDOW_BYTES = 1 << 16
"""Read of the file at a time. It is not mapped: a file that is cut meanwhile would end this process (SIGBUS)."""

STRING_COUNT_LIMIT = 1 << 22
"""Strings to step over in one header. The largest vocabularies with merges have under a million."""


class Cursor:
    """Reads forward. Every method raises ModelFileError, naming the file and the place, instead of passing its end."""

    __slots__ = (
        *("_built_bytes", "_read", "_strings", "_u32", "_u64", "_window", "_window_at"),
        *("order", "path", "position", "size_bytes"),
    )

    def __init__(
        self, read: Callable[[int, int], bytes], size_bytes: int, path: str, order: str, position: int
    ) -> None:
        """`read` gives so many bytes of the file from a place on, fewer at its end."""
        self._read = read
        self._window, self._window_at = b"", 0
        self.path = path
        self.order = order
        """"<" or ">", as `struct` spells byte orders."""
        self.position = position
        self.size_bytes = size_bytes
        self._u32 = struct.Struct(order + "I")
        self._u64 = struct.Struct(order + "Q")
        self._built_bytes = 0
        self._strings = 0

    def fail(self, found: str) -> NoReturn:
        """Refuse the file."""
        raise ModelFileError(f"{self.path}: {found}")

    def _bytes(self, start: int, size_bytes: int) -> bytes:
        """Bytes that the file had when it was opened."""
        offset = start - self._window_at
        if offset < 0 or offset + size_bytes > len(self._window):
            self._window, self._window_at = self._read(start, max(size_bytes, _WINDOW_BYTES)), start
            offset = 0
            if len(self._window) < size_bytes:
                self.fail(f"truncated while it was read: byte {start} is gone")
        return self._window[offset : offset + size_bytes]

    def take(self, size_bytes: int, what: str) -> int:
        """Step over `size_bytes` and return where they start."""
        start = self.position
        if size_bytes > self.size_bytes - start:
            self.fail(f"truncated: {what} at byte {start} needs {size_bytes} bytes, the file has {self.size_bytes}")
        self.position = start + size_bytes
        return start

    def u32(self, what: str) -> int:
        """An unsigned 32-bit number."""
        start = self.take(4, what)
        return int(self._u32.unpack(self._bytes(start, 4))[0])

    def u64(self, what: str) -> int:
        """An unsigned 64-bit number."""
        start = self.take(8, what)
        return int(self._u64.unpack(self._bytes(start, 8))[0])

    def text(self, what: str, limit_bytes: int) -> str:
        """A string that has to be there in full, at most `limit_bytes` long. Bad UTF-8 is replaced."""
        length = self.u64(f"length of {what}")
        if length > limit_bytes:
            self.fail(f"{what} at byte {self.position} claims {length} bytes (at most {limit_bytes} are accepted)")
        start = self.take(length, what)
        self._build(length)
        return self._bytes(start, length).decode("utf-8", "replace")

    def numbers(self, kind: ValueType, count: int, what: str) -> tuple[Scalar, ...]:
        """`count` values of one fixed-size type."""
        start = self.take(count * kind.size_bytes, what)
        self._build(count * kind.size_bytes)
        return struct.unpack(f"{self.order}{count}{kind.letter}", self._bytes(start, count * kind.size_bytes))

    def skip_strings(self, count: int, what: str) -> None:
        """Step over `count` strings without building them.

        This loop is what reading a header costs (a vocabulary has 256k strings), hence its bareness: a read past the
        end raises in `struct`, so positions need no test of their own; measured by tests/bench/bench_gguf.py.
        """
        if count > (self.size_bytes - self.position) // 8:
            self.fail(f"truncated: {what} claims {count} strings, the file has {self.size_bytes} bytes")
        self._strings += count
        if self._strings > STRING_COUNT_LIMIT:
            self.fail(f"{what} claims {count} strings (at most {STRING_COUNT_LIMIT} in a file are accepted)")
        position, left, unpack = self.position, count, self._u64.unpack_from
        while left:
            if position > self.size_bytes - 8:
                position = max(position, self.size_bytes + 1)
                break
            window = self._bytes(position, min(_WINDOW_BYTES, self.size_bytes - position))
            offset = passed = 0
            try:
                for passed in range(left):  # noqa: B007  how many were passed when the window ended
                    offset += unpack(window, offset)[0] + 8
                passed = left
            except (struct.error, OverflowError):
                pass
            position += offset
            left -= passed
        if position > self.size_bytes:
            self.fail(f"truncated: a string of {what} reaches byte {position}, the file has {self.size_bytes}")
        self.position = position

    def _build(self, size_bytes: int) -> None:
        self._built_bytes += size_bytes
        if self._built_bytes > BUILT_LIMIT_BYTES:
            self.fail(f"metadata of more than {BUILT_LIMIT_BYTES} bytes before byte {self.position}")
