"""What the header of a model file says. Readers live in `sources/model_files`; rules over it in `planning`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class SkippedArray:
    """An array that was stepped over, not built (vocabularies, merges): its element type and length only."""

    element_type: str
    length: int


MetadataValue = Scalar | tuple[Scalar, ...] | SkippedArray


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a GGUF file.

    `shape` is in ggml order: shape[0] is the row length (ne0). `type_name` is ggml's ("q4_K", "f32", "mxfp4") or None
    where this version of kvtop does not know `type_id`; then `size_bytes` is None too.
    """

    name: str
    type_id: int
    type_name: str | None
    shape: tuple[int, ...]
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Everything before the tensor data of a GGUF model, all parts of a split file merged.

    `file_size_bytes` sums the parts. `notes` are oddities worth showing (unknown tensor types, missing parts).
    """

    path: str
    version: int
    big_endian: bool
    metadata: Mapping[str, MetadataValue]
    tensors: tuple[TensorInfo, ...]
    file_size_bytes: int
    parts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def architecture(self) -> str | None:
        """`general.architecture`, or None where the file does not say."""
        value = self.metadata.get("general.architecture")
        return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class CheckpointTensor:
    """One tensor of a safetensors checkpoint. `dtype` is the file's word ("BF16", "F8_E4M3", "U32")."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A Hugging Face model directory: `config.json` and the safetensors headers of all shards.

    `config` is the parsed JSON, untouched. `tensors` is empty and `tensor_bytes` None when no weights lie there;
    `tensor_bytes` comes from the headers, or from the index's `metadata.total_size` when a shard is missing (`notes`).
    """

    path: str
    config: Mapping[str, object]
    tensors: tuple[CheckpointTensor, ...]
    tensor_bytes: int | None
    notes: tuple[str, ...] = ()
    draft: "Checkpoint | None" = None
    """The draft model that the command names beside it, where it was found."""


ModelFile = GgufHeader | Checkpoint
"""A model as its file or directory describes it."""


class ModelFileError(Exception):
    """A model file that cannot be read or believed. str() names the file and says what was found in it."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """`parameters` are as JSON gave them (num_ctx, num_gpu …); `family` is the word of its configuration."""

    name: str
    model_path: str
    projector_path: str | None = None
    draft_path: str | None = None
    adapter_paths: tuple[str, ...] = ()
    parameters: Mapping[str, object] = field(default_factory=dict)
    family: str = ""

    def whole(self, parameter: str) -> int | None:
        """A parameter that is a whole number; None where it is not set, or is something else."""
        value = self.parameters.get(parameter)
        return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31 else None
