"""Names and UUIDs as the driver spells them, made safe to show.

The binding decodes strictly and raises UnicodeDecodeError on real drivers (R555 on WSL: nvitop issue 127), so the
bytes are read through the C interface.
"""

import ctypes
import re

from kvtop.sources.devices.nvml.errors import FUNCTION_NOT_FOUND, SUCCESS, DriverError

_BUFFER_BYTES = 96  # NVML_DEVICE_NAME_V2_BUFFER_SIZE and NVML_DEVICE_UUID_V2_BUFFER_SIZE
_ESCAPE_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\^_])")


def read_text(library: ctypes.CDLL | None, function: str, handle: object) -> str | DriverError:
    """The text that `function(handle, buffer, size)` gives, without anything that could move a terminal's cursor."""
    if library is None or not hasattr(library, function):
        return DriverError(FUNCTION_NOT_FOUND)
    buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
    code = int(getattr(library, function)(handle, buffer, ctypes.c_uint(_BUFFER_BYTES)))
    return printable(buffer.value) if code == SUCCESS else DriverError(code)


def printable(raw: bytes) -> str:
    """UTF-8 with U+FFFD for what is none; escape sequences and control characters are dropped."""
    text = _ESCAPE_SEQUENCE.sub("", raw.decode("utf-8", "replace"))
    return "".join(character for character in text if character.isprintable()).strip()
