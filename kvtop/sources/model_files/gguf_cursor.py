"""A position in a memory-mapped GGUF header that never believes a number before it was held against the file."""

import struct
from itertools import repeat
from mmap import mmap
from typing import NoReturn

from kvtop.domain.model_file import ModelFileError, Scalar
from kvtop.sources.model_files.gguf_types import ValueType

BUILT_LIMIT_BYTES = 8 << 20
"""How much of one header may become Python values. Real ones need some 100 KB; a sparse file may claim GBs."""

STRING_COUNT_LIMIT = 1 << 22
"""Strings to step over in one header. The largest vocabularies with merges have under a million."""


class Cursor:
    """Reads forward. Every method raises ModelFileError, naming the file and the place, instead of passing its end."""

    __slots__ = ("_built_bytes", "_strings", "_u32", "_u64", "buffer", "order", "path", "position", "size_bytes")

    def __init__(self, buffer: mmap, path: str, order: str, position: int) -> None:
        self.buffer = buffer
        self.path = path
        self.order = order
        """"<" or ">", as `struct` spells byte orders."""
        self.position = position
        self.size_bytes = len(buffer)
        self._u32 = struct.Struct(order + "I")
        self._u64 = struct.Struct(order + "Q")
        self._built_bytes = 0
        self._strings = 0

    def fail(self, found: str) -> NoReturn:
        """Refuse the file."""
        raise ModelFileError(f"{self.path}: {found}")

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
        return int(self._u32.unpack_from(self.buffer, start)[0])

    def u64(self, what: str) -> int:
        """An unsigned 64-bit number."""
        start = self.take(8, what)
        return int(self._u64.unpack_from(self.buffer, start)[0])

    def text(self, what: str, limit_bytes: int) -> str:
        """A string that has to be there in full, at most `limit_bytes` long. Bad UTF-8 is replaced."""
        length = self.u64(f"length of {what}")
        if length > limit_bytes:
            self.fail(f"{what} at byte {self.position} claims {length} bytes (at most {limit_bytes} are believed)")
        start = self.take(length, what)
        self._build(length)
        return self.buffer[start : start + length].decode("utf-8", "replace")

    def numbers(self, kind: ValueType, count: int, what: str) -> tuple[Scalar, ...]:
        """`count` values of one fixed-size type."""
        start = self.take(count * kind.size_bytes, what)
        self._build(count * kind.size_bytes)
        return struct.unpack_from(f"{self.order}{count}{kind.letter}", self.buffer, start)

    def skip_strings(self, count: int, what: str) -> None:
        """Step over `count` strings without building them.

        This loop is what reading a header costs (a vocabulary has 256k strings), hence its bareness: a read past the
        end raises in `struct`, so positions need no test of their own; measured by tests/bench/bench_gguf.py.
        """
        if count > (self.size_bytes - self.position) // 8:
            self.fail(f"truncated: {what} claims {count} strings, the file has {self.size_bytes} bytes")
        self._strings += count
        if self._strings > STRING_COUNT_LIMIT:
            self.fail(f"{what} claims {count} strings (at most {STRING_COUNT_LIMIT} in a file are believed)")
        position, buffer, unpack = self.position, self.buffer, self._u64.unpack_from
        try:
            for _ in repeat(None, count):
                position += unpack(buffer, position)[0] + 8
        except (struct.error, OverflowError):
            position = max(position, self.size_bytes + 1)
        if position > self.size_bytes:
            self.fail(f"truncated: a string of {what} reaches byte {position}, the file has {self.size_bytes}")
        self.position = position

    def _build(self, size_bytes: int) -> None:
        self._built_bytes += size_bytes
        if self._built_bytes > BUILT_LIMIT_BYTES:
            self.fail(f"metadata of more than {BUILT_LIMIT_BYTES} bytes before byte {self.position}")
