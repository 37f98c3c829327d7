"""Read a Hugging Face model directory: `config.json` and the headers of its safetensors files, never the weights."""

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from kvtop.domain.model_file import Checkpoint, CheckpointTensor, ModelFileError
from kvtop.sources.model_files.json_object import read_object
from kvtop.sources.model_files.safetensors import read_safetensors

CONFIG_NAME = "config.json"
QUANTIZATION_NAME = "hf_quant_config.json"
"""Where ModelOpt kept a checkpoint's quantization before it went into `config.json`."""
INDEX_NAME = "model.safetensors.index.json"

_CONFIG_LIMIT_BYTES = 16 << 20
_INDEX_LIMIT_BYTES = 64 << 20
_SHARD_LIMIT = 4096
_ASIDE = ("consolidated", "adapter_")
"""How files start that repeat the weights in another layout (Mistral) or add to them (LoRA)."""
_OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".gguf")


def read_checkpoint(
    directory: str | os.PathLike[str], *, resolve: Callable[[str], str] = lambda path: path
) -> Checkpoint:
    """Configuration and tensors of a model directory.

    `resolve` says what to open for a file of it: links of a container mean files of the container
    (`ProcessFilesystem.followed`).

    Shards are those of `model.safetensors.index.json`, or every *.safetensors file where there is no index. Missing
    shards are notes. Raises ModelFileError when `config.json` is missing or any file that is there cannot be believed.
    """
    path = os.fspath(directory)
    folder = Path(path)
    config = _configuration(folder, resolve)
    total_bytes: int | None = None
    notes: list[str] = []
    if os.path.lexists(folder / INDEX_NAME):
        shards, total_bytes = _index(resolve(str(folder / INDEX_NAME)))
        missing = [name for name in shards if not Path(resolve(str(folder / name))).exists()]
        if missing:
            notes.append(f"{len(missing)} of {len(shards)} weight files missing: {_listed(missing)}")
    else:
        shards, aside = _files(folder)
        missing = []
        if aside:
            notes.append(f"not counted: {_listed(aside)}")
    present = [name for name in shards if name not in set(missing)]
    tensors: dict[str, CheckpointTensor] = {}
    repeated = 0
    for name in present:
        for tensor in read_safetensors(resolve(str(folder / name))):
            if tensors.setdefault(tensor.name, tensor) is not tensor:
                repeated += 1
    if repeated:
        notes.append(f"{repeated} tensors are in more than one file, counted once")
    if not shards:
        notes.append(_without_weights(folder))
    known_bytes = sum(tensor.size_bytes for tensor in tensors.values()) if present and not missing else total_bytes
    return Checkpoint(path, config, tuple(tensors.values()), known_bytes, tuple(notes))


def _configuration(folder: Path, resolve: Callable[[str], str]) -> dict[str, object]:
    """`config.json`, with the quantization of the file beside it where it names none itself, as engines read it."""
    config = read_object(resolve(str(folder / CONFIG_NAME)), _CONFIG_LIMIT_BYTES)
    beside = resolve(str(folder / QUANTIZATION_NAME))
    if "quantization_config" in config or not os.path.lexists(folder / QUANTIZATION_NAME):
        return config
    return {**config, "quantization_config": read_object(beside, _CONFIG_LIMIT_BYTES)}


def _index(path: str) -> tuple[list[str], int | None]:
    """The shard names of an index, sorted, and its `metadata.total_size` (some files write it as a float)."""
    index = read_object(path, _INDEX_LIMIT_BYTES)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict):
        raise ModelFileError(f"{path}: has no weight_map")
    names: set[str] = set()
    for name in weight_map.values():
        if not isinstance(name, str) or not _inside(name):
            raise ModelFileError(f"{path}: names {name!r} as a weight file")
        names.add(name)
    if len(names) > _SHARD_LIMIT:
        raise ModelFileError(f"{path}: names {len(names)} weight files (at most {_SHARD_LIMIT} are read)")
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    is_count = isinstance(total, int | float) and not isinstance(total, bool) and 0 <= total < 1 << 63
    return sorted(names), int(total) if is_count and isinstance(total, int | float) else None


def _inside(name: str) -> bool:
    """Whether a name stays in its directory."""
    shard = PurePosixPath(name)
    return bool(shard.name) and "\0" not in name and not shard.is_absolute() and ".." not in shard.parts


def _files(folder: Path) -> tuple[list[str], list[str]]:
    """All safetensors files of a directory without an index: those that are the model, and those that are not."""
    names = sorted(name for name in _entries(folder) if name.endswith(".safetensors"))
    if len(names) > _SHARD_LIMIT:
        raise ModelFileError(f"{folder}: holds {len(names)} weight files (at most {_SHARD_LIMIT} are read)")
    model = [name for name in names if not name.startswith(_ASIDE)]
    return (model, [name for name in names if name.startswith(_ASIDE)]) if model else (names, [])


def _without_weights(folder: Path) -> str:
    others = sorted({PurePosixPath(name).suffix for name in _entries(folder) if name.endswith(_OTHER_WEIGHTS)})
    return f"no safetensors weights here ({', '.join(others)} are not read)" if others else "no weights here"


def _entries(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError as error:
        raise ModelFileError(f"{folder}: {error.strerror}") from error


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
