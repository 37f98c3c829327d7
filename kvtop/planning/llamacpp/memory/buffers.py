"""How the buffers of a backend round tensor sizes (`ggml_backend_buft_get_alloc_size`, ggml, b11434)."""

import math
from dataclasses import dataclass

from kvtop.domain.model_file import TensorInfo
from kvtop.domain.plan import PlanDevice
from kvtop.planning.cache_types import ElementType

_MATRIX_ROW_PADDING = 512
_PLAIN = frozenset({"f32", "f16", "bf16", "f64", "i8", "i16", "i32", "i64"})


@dataclass(frozen=True, slots=True)
class BufferRule:
    """`pads_rows`: a quantized row that is no multiple of 512 values is followed by room up to the next multiple."""

    alignment_bytes: int
    pads_rows: bool

    def allocated(self, tensor: TensorInfo, size_bytes: int) -> int:
        """Bytes that one tensor of a file takes in this buffer."""
        row = tensor.shape[0] if tensor.shape else 1
        short = row % _MATRIX_ROW_PADDING
        if self.pads_rows and short and tensor.type_name not in _PLAIN:
            values = math.prod(tensor.shape)
            size_bytes += (_MATRIX_ROW_PADDING - short) * size_bytes // max(values, 1)
        return self.padded(size_bytes)

    def allocated_rows(self, kind: ElementType, width: int, rows: int) -> int:
        """Bytes of a cache tensor of `rows` rows of `width` values. Raises ValueError unless blocks divide rows."""
        size_bytes = kind.row_bytes(width) * rows
        short = width % _MATRIX_ROW_PADDING
        if self.pads_rows and short and kind.is_quantized:
            size_bytes += kind.row_bytes(_MATRIX_ROW_PADDING - short)
        return self.padded(size_bytes)

    def padded(self, size_bytes: int) -> int:
        """The next multiple of the alignment."""
        return -(-size_bytes // self.alignment_bytes) * self.alignment_bytes


HOST_BUFFER = BufferRule(32, pads_rows=False)
"""`TENSOR_ALIGNMENT` of ggml's CPU buffers, pinned and repacked ones included."""

_CUDA_BUFFER = BufferRule(128, pads_rows=True)
_DEVICE_BUFFERS = {"cuda": _CUDA_BUFFER, "rocm": _CUDA_BUFFER, "sycl": _CUDA_BUFFER, "metal": HOST_BUFFER}
"""HIP compiles ggml-cuda's own sources; SYCL_BUFFER_ALIGNMENT is 128, and its rows are padded like CUDA's
(`ggml_backend_sycl_buffer_type_get_alloc_size`)."""

LEAST_ALIGNMENT_BYTES, MOST_ALIGNMENT_BYTES = 1, 256
"""What a driver may choose where the API leaves it to the driver: `minStorageBufferOffsetAlignment` is a power of two,
256 at most (Vulkan specification, "Required Limits"). ggml-vulkan aligns to it and rounds nothing else."""
BUFFER_RULES = (HOST_BUFFER, _CUDA_BUFFER)
"""The common rules: sizes under them are kept with each tensor."""


def device_buffer(device: PlanDevice) -> BufferRule:
    """The rule of a device's API. Vulkan's alignment belongs to the driver; 32 bytes stand in where it is not known."""
    if device.compute_api in _DEVICE_BUFFERS or device.buffer_alignment_bytes is None:
        return _DEVICE_BUFFERS.get(device.compute_api, HOST_BUFFER)
    return BufferRule(device.buffer_alignment_bytes, pads_rows=False)


def doubt(device: PlanDevice) -> str:
    """Why bytes on this device are not exact, or ""."""
    if device.compute_api == "sycl":
        return "which weights SYCL devices can hold was not compared with the engine"
    if device.compute_api in _DEVICE_BUFFERS or device.buffer_alignment_bytes is not None:
        return ""
    return f"how {device.compute_api} buffers round tensor sizes is not known"
