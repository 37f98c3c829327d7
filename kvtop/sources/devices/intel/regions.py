"""The memory regions of a card, asked of its driver by one system call on its render node.

Layouts: include/uapi/drm/xe_drm.h (drm_xe_device_query, drm_xe_mem_region: 88 bytes) and i915_drm.h (drm_i915_query,
drm_i915_query_item, drm_i915_memory_region_info: 88 bytes). What is used is told to those with CAP_PERFMON only: xe
says 0 to others, i915 that nothing is allocated.
"""

import ctypes
import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path

_ANSWER_LIMIT_BYTES = 64 * 1024
_READ_WRITE = 3
_DRM, _DRIVER_COMMANDS = ord("d"), 0x40
_XE_DEVICE_QUERY, _XE_MEM_REGIONS = 0x00, 1
_I915_QUERY, _I915_MEMORY_REGIONS = 0x39, 4
_OF_THE_CARD = 1
"""Memory class: 0 is the system's."""


@dataclass(frozen=True, slots=True)
class CardMemory:
    """Memory of the card itself. `used_bytes` None: not told to this process."""

    total_bytes: int
    used_bytes: int | None


def card_memory(driver: str, node: Path) -> CardMemory | None:
    """What the driver answers at that render node; None where it may not be asked or has no memory of its own."""
    try:
        descriptor = os.open(node, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return parse_xe(_ask_xe(descriptor)) if driver == "xe" else parse_i915(_ask_i915(descriptor))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def parse_xe(answer: bytes) -> CardMemory | None:
    """`drm_xe_query_mem_regions`: a count, then regions of class, instance, page size, total, used …"""
    regions = []
    for at in _region_offsets(answer, head=8, count_at=0):
        kind, _, _, total, used = struct.unpack_from("=HHIQQ", answer, at)
        if kind == _OF_THE_CARD:
            regions.append((total, used))
    return _summed(regions)


def parse_i915(answer: bytes) -> CardMemory | None:
    """`drm_i915_query_memory_regions`: a count, then regions of class, instance, probed and unallocated size …"""
    regions = []
    for at in _region_offsets(answer, head=16, count_at=0):
        kind, _, _, probed, unallocated = struct.unpack_from("=HHIQQ", answer, at)
        if kind == _OF_THE_CARD:
            regions.append((probed, max(probed - unallocated, 0)))
    return _summed(regions)


def _region_offsets(answer: bytes, head: int, count_at: int) -> range:
    size = 88
    if len(answer) < head:
        return range(0)
    (count,) = struct.unpack_from("=I", answer, count_at)
    return range(head, head + min(count, (len(answer) - head) // size) * size, size)


def _summed(regions: list[tuple[int, int]]) -> CardMemory | None:
    total, used = sum(it for it, _ in regions), sum(it for _, it in regions)
    if not 0 < total < 1 << 62:
        return None
    return CardMemory(total, used if 0 < used <= total else None)


def _request(command: int, size: int) -> int:
    """_IOWR of asm-generic/ioctl.h."""
    return _READ_WRITE << 30 | size << 16 | _DRM << 8 | (_DRIVER_COMMANDS + command)


def _ask_xe(descriptor: int) -> bytes:
    """Asked for the size first, then for the answer: extensions, query, size, pointer, two reserved words."""
    layout = "=QIIQ2Q"
    request = _request(_XE_DEVICE_QUERY, struct.calcsize(layout))
    question = bytearray(struct.pack(layout, 0, _XE_MEM_REGIONS, 0, 0, 0, 0))
    fcntl.ioctl(descriptor, request, question)
    size = struct.unpack(layout, question)[2]
    if not 0 < size <= _ANSWER_LIMIT_BYTES:
        return b""
    answer = ctypes.create_string_buffer(size)
    question = bytearray(struct.pack(layout, 0, _XE_MEM_REGIONS, size, ctypes.addressof(answer), 0, 0))
    fcntl.ioctl(descriptor, request, question)
    return answer.raw


def _ask_i915(descriptor: int) -> bytes:
    """The same: one item of query id, length, flags and pointer."""
    item_layout, query_layout = "=QiIQ", "=IIQ"
    request = _request(_I915_QUERY, struct.calcsize(query_layout))
    item = ctypes.create_string_buffer(struct.pack(item_layout, _I915_MEMORY_REGIONS, 0, 0, 0))
    fcntl.ioctl(descriptor, request, bytearray(struct.pack(query_layout, 1, 0, ctypes.addressof(item))))
    size = struct.unpack_from(item_layout, item.raw)[1]
    if not 0 < size <= _ANSWER_LIMIT_BYTES:
        return b""
    answer = ctypes.create_string_buffer(size)
    item = ctypes.create_string_buffer(
        struct.pack(item_layout, _I915_MEMORY_REGIONS, size, 0, ctypes.addressof(answer))
    )
    fcntl.ioctl(descriptor, request, bytearray(struct.pack(query_layout, 1, 0, ctypes.addressof(item))))
    return answer.raw
