"""Published command lines with the model and the cards they are meant for: what `kvtop lint` meets in the field."""

import gzip
import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from kvtop.analysis.lint.rule import Example
from kvtop.domain.model_file import Checkpoint, GgufHeader, TensorInfo
from kvtop.planning.gpus.specs import parse_gpu_specs
from tests.models import rule_models

FIXTURES = Path(__file__).parents[1] / "fixtures" / "realworld"
CARDS = ("H100", "H200", "B200")
"""From small to large: a recipe is planned on the smallest whose memory the weights fill to `MOST_WEIGHTS` at most."""
MOST_WEIGHTS = 0.6
_RANKS = re.compile(r"--(?:tensor|pipeline|data)[-_]parallel(?:[-_]size)?[ =](\d+)")


@dataclass(frozen=True, slots=True)
class Published:
    """One command line. `is_right`: the engine takes it, or its log shows it serving; None is unknown."""

    origin: str
    engine: str
    command: str
    model: str
    gpus: tuple[str, ...]
    is_right: bool | None

    @property
    def bare(self) -> Example:
        """As it is typed where nothing is downloaded and no card is named."""
        return Example(self.command)

    @property
    def whole(self) -> Example:
        """With its model's file and its cards."""
        return Example(self.command, self.gpus, self.model)


@lru_cache(maxsize=1)
def published() -> tuple[Published, ...]:
    """All of them, in the order of the fixture."""
    rows = json.loads((FIXTURES / "published_commands.json").read_text(encoding="utf-8"))
    vllm = (
        Published(it["from"], "vllm", it["command"], it["model"], _cards(it["model"], it["command"]), it["is_taken"])
        for it in rows["vllm"]
    )
    right = {"serves": True, "fails": False, "unknown": None}
    llamacpp = (
        Published(it["from"], "llama.cpp", it["command"], it["model"], tuple(it["gpu"]), right[it["outcome"]])
        for it in rows["llamacpp"]
    )
    return (*vllm, *llamacpp)


@lru_cache(maxsize=1)
def _recorded() -> dict[str, Any]:
    with gzip.open(FIXTURES / "published_models.json.gz", "rt", encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
        return found


@lru_cache(maxsize=1)
def models() -> dict[str, GgufHeader | Checkpoint]:
    """The models by the name that a command line gives them."""
    found: dict[str, GgufHeader | Checkpoint] = {}
    for name, it in _recorded()["checkpoints"].items():
        found[name] = Checkpoint(name, it["config"], (), it["weights_bytes"])
    for name, it in _recorded()["gguf"].items():
        found[name] = _of_size(_header(name, it["metadata"]), it["weights_bytes"])
    return {**rule_models.gguf_models(), **found}


def _cards(model: str, command: str) -> tuple[str, ...]:
    checkpoint = _recorded()["checkpoints"].get(model)
    ranks = prod(int(found) for found in _RANKS.findall(command))
    share = 0 if checkpoint is None else checkpoint["weights_bytes"] / ranks
    for card in CARDS:
        total = parse_gpu_specs((card,))[0].total_bytes or 0
        if share <= total * MOST_WEIGHTS:
            return (card,)
    return (CARDS[-1],)


_TEMPLATES = {"gemma4": "gemma-4-31b", "qwen3": "qwen3-8b", "llama": "llama-3.1-8b", "qwen2": "qwen2.5-7b"}
_EXTENTS = ("embedding_length", "feed_forward_length", "vocab_size")


def _header(name: str, metadata: dict[str, Any]) -> GgufHeader:
    """A log prints no list of tensors: they are those of the recorded model of that name, or of a relative of it, sized
    by the metadata."""
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in metadata.items()}
    recorded = rule_models.gguf_models()
    arch = str(values["general.architecture"])
    own = recorded.get(name.removesuffix("-2507"))
    if own is not None:
        return replace(own, path=name, metadata={**own.metadata, **values})
    like = recorded[_TEMPLATES[arch]]
    extents = {int(like.metadata[f"{arch}.{key}"]): int(metadata[f"{arch}.{key}"]) for key in _EXTENTS}  # type: ignore[arg-type]
    blocks = int(metadata[f"{arch}.block_count"])
    last = int(like.metadata[f"{arch}.block_count"]) - 1  # type: ignore[arg-type]
    by_block: dict[int, list[TensorInfo]] = {}
    tensors: list[TensorInfo] = []
    for tensor in like.tensors:
        found = re.match(r"blk\.(\d+)\.", tensor.name)
        if found is None:
            tensors.append(_sized(tensor, tensor.name, extents))
        else:
            by_block.setdefault(int(found[1]), []).append(tensor)
    for block in range(blocks):
        rows = by_block[min(block, last)]
        tensors += [_sized(it, re.sub(r"blk\.\d+", f"blk.{block}", it.name), extents) for it in rows]
    size = sum(it.size_bytes or 0 for it in tensors)
    return replace(like, path=name, metadata={**like.metadata, **values}, tensors=tuple(tensors), file_size_bytes=size)


def _of_size(header: GgufHeader, size_bytes: int) -> GgufHeader:
    """With every tensor as much smaller or larger as the file is."""
    ratio = size_bytes / header.file_size_bytes
    tensors = tuple(replace(it, size_bytes=round((it.size_bytes or 0) * ratio)) for it in header.tensors)
    return replace(header, tensors=tensors, file_size_bytes=size_bytes)


def _sized(tensor: TensorInfo, name: str, extents: dict[int, int]) -> TensorInfo:
    shape = tuple(extents.get(it, it) for it in tensor.shape)
    size = (tensor.size_bytes or 0) * prod(shape) // prod(tensor.shape)
    return replace(tensor, name=name, shape=shape, size_bytes=size)
