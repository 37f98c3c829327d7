"""Oracle cases as kvtop's own values: headers from recorded tensor lists, settings from recorded flags."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from kvtop.domain.model_file import GgufHeader, MetadataValue, SkippedArray, TensorInfo
from kvtop.domain.plan import PlanDevice
from kvtop.planning.llamacpp.memory.prepared import PreparedModel, prepare
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from tests.oracle.recorded import recorded

FIXTURE = Path(__file__).parent.parent / "fixtures" / "oracle" / "llamacpp.json.gz"
ARCHITECTURES = FIXTURE.with_name("llamacpp_architectures.json.gz")
MORE_MODELS = FIXTURE.with_name("llamacpp_more_models.json.gz")
PLACEMENTS = FIXTURE.with_name("llamacpp_placement.json.gz")

# ggml type -> id, values per block, bytes per block.
TYPES = {
    "f32": (0, 1, 4),
    "f16": (1, 1, 2),
    "q4_0": (2, 32, 18),
    "q4_1": (3, 32, 20),
    "q5_0": (6, 32, 22),
    "q5_1": (7, 32, 24),
    "q8_0": (8, 32, 34),
    "q4_K": (12, 256, 144),
    "q5_K": (13, 256, 176),
    "q6_K": (14, 256, 210),
    "iq4_nl": (20, 32, 18),
    "bf16": (30, 1, 2),
    "mxfp4": (39, 32, 17),
}

_INTEGERS = {
    "-c": "ctx_tokens",
    "-np": "parallel",
    "-b": "batch_tokens",
    "-ub": "ubatch_tokens",
    "-ngl": "gpu_layers",
    "--n-cpu-moe": "cpu_moe_layers",
    "--kv-unified-per-slot": "kv_unified_per_slot_tokens",
}
_WORDS = {
    "-ctk": "type_k",
    "-ctv": "type_v",
    "-fa": "flash_attention",
    "-sm": "split_mode",
}
_SWITCHES: dict[str, dict[str, bool]] = {
    "-kvu": {"kv_unified": True},
    "--no-kv-unified": {"kv_unified": False},
    "-nkvo": {"kv_offload": False},
    "--cpu-moe": {"cpu_moe": True},
    "--swa-full": {"swa_full": True},
    "--no-repack": {"repack": False},
    "--embeddings": {"embeddings": True},
}


@dataclass(frozen=True, slots=True)
class Case:
    """One recorded answer. `expected` is as recorded: bytes, or "error" with the engine's words."""

    id: str
    model: str
    device: str
    settings: LlamaSettings
    devices: tuple[PlanDevice, ...]
    resolved: dict[str, Any]
    expected: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Oracle:
    """All recorded answers and the headers they are about."""

    headers: dict[str, GgufHeader]
    cases: tuple[Case, ...]


@cache
def load_oracle(path: Path = FIXTURE) -> Oracle:
    """Read the recorded answers."""
    rows = recorded(path.name)
    headers = {name: header_of(name, model["kv"], model["tensors"]) for name, model in rows["models"].items()}
    cases = tuple(
        Case(
            case["id"],
            case["model"],
            case["device"],
            settings_of(case["flags"]),
            devices_of(case["device"]),
            case.get("resolved", {}),
            case["expected"],
        )
        for case in rows["cases"]
    )
    return Oracle(headers, cases)


@cache
def prepared(path: Path, model: str) -> PreparedModel:
    """A model of that recording, ready to be planned."""
    return prepare(load_oracle(path).headers[model])


@cache
def prepared_architecture(name: str) -> PreparedModel:
    """A tiny model, ready to be planned."""
    return prepare(load_architectures()[0][name])


def header_of(name: str, metadata: dict[str, Any], tensors: list[Any]) -> GgufHeader:
    """A header from `{key: [type, value]}` and `[name pattern, type, shape, layers]` rows."""
    values: dict[str, MetadataValue] = {
        key: tuple(value) if isinstance(value, list) else value for key, (_, value) in metadata.items()
    }
    infos = tuple(_tensor(tensor_name, kind, shape) for tensor_name, kind, shape in _expand(tensors))
    return GgufHeader(name, 3, False, values, infos, sum(info.size_bytes or 0 for info in infos))


def _expand(rows: list[Any]) -> Iterator[tuple[str, str, list[int]]]:
    for pattern, kind, shape, layers in rows:
        if layers is None:
            yield pattern, kind, shape
            continue
        for entry in layers:
            for layer in range(entry[0], entry[1] + 1) if isinstance(entry, list) else (entry,):
                yield pattern.replace("{i}", str(layer)), kind, shape


def _tensor(name: str, kind: str, shape: list[int]) -> TensorInfo:
    type_id, block_values, block_bytes = TYPES[kind]
    values = 1
    for extent in shape:
        values *= extent
    return TensorInfo(name, type_id, kind, tuple(shape), values // block_values * block_bytes)


@dataclass(frozen=True, slots=True)
class ArchitectureCase:
    """A tiny model on the CPU: bytes of weights and caches in all, or the engine's complaint."""

    model: str
    settings: LlamaSettings
    weights_bytes: int | None
    cache_bytes: int | None
    n_ctx: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class PlacementCase:
    """A tiny model spread over devices. `expected` is (weights, cache) bytes by device name."""

    model: str
    settings: LlamaSettings
    devices: tuple[PlanDevice, ...]
    expected: dict[str, tuple[int, int]]


@cache
def load_architectures(path: Path = ARCHITECTURES) -> tuple[dict[str, GgufHeader], tuple[ArchitectureCase, ...]]:
    """Read the recorded answers for tiny models of nearly every architecture."""
    rows = recorded(path.name)
    headers = {name: _tiny_header(name, model) for name, model in rows["models"].items()}
    cases = tuple(
        ArchitectureCase(
            case["model"],
            replace(LlamaSettings(fit=False), **_hashable(case["settings"])),
            case.get("weights"),
            case.get("cache"),
            case.get("n_ctx"),
            case.get("error"),
        )
        for case in rows["cases"]
    )
    return headers, cases


@cache
def load_placements(path: Path = PLACEMENTS) -> tuple[PlacementCase, ...]:
    """Read the recorded answers for the tiny models on simulated accelerators."""
    return tuple(
        PlacementCase(
            model,
            replace(LlamaSettings(fit=False), **_hashable(settings)),
            tuple(PlanDevice(f"gpu{index}", 80 * 2**30) for index in range(count)),
            {name: (weights, cache) for name, (weights, cache) in expected.items()},
        )
        for model, count, settings, expected in recorded(path.name)["cases"]
    )


def _tiny_header(name: str, model: dict[str, Any]) -> GgufHeader:
    values: dict[str, MetadataValue] = {}
    for key, (kind, value) in model["kv"].items():
        if kind == "skip":
            values[key] = SkippedArray(*value)
        else:
            values[key] = tuple(value) if kind == "arr" else value
    tensors = tuple(_tensor(tensor_name, kind, shape) for tensor_name, kind, shape in model["tensors"])
    return GgufHeader(name, 3, False, values, tensors, sum(tensor.size_bytes or 0 for tensor in tensors))


def _hashable(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: _tupled(value) for key, value in settings.items()}


def _tupled(value: object) -> object:
    return tuple(_tupled(entry) for entry in value) if isinstance(value, list) else value


def devices_of(device: str) -> tuple[PlanDevice, ...]:
    """ "cpu", "gpu-sim" or "gpu-sim x2" as devices that are large enough for everything."""
    count = {"cpu": 0, "gpu-sim": 1, "gpu-sim x2": 2}[device]
    return tuple(PlanDevice(f"gpu{index}", 80 * 2**30) for index in range(count))


def settings_of(flags: list[str]) -> LlamaSettings:
    """The settings of recorded flags. Raises KeyError for a flag that no recorded case has."""
    changes: dict[str, Any] = {"fit": False}
    words = iter(flags)
    for flag in words:
        if flag in _SWITCHES:
            changes |= _SWITCHES[flag]
        elif flag in _INTEGERS:
            changes[_INTEGERS[flag]] = int(next(words))
        elif flag == "-ts":
            changes["tensor_split"] = tuple(float(share) for share in next(words).split(","))
        elif flag == "-ot":
            pattern, _, buffer_type = next(words).rpartition("=")
            changes["tensor_overrides"] = ((pattern, buffer_type),)
        else:
            changes[_WORDS[flag]] = next(words)
    return replace(LlamaSettings(), **changes)
