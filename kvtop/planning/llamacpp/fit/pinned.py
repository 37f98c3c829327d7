"""Parameters as options: what a person would type to load with them, without `--fit`."""

import re
from collections.abc import Sequence
from dataclasses import replace

from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.planning.llamacpp.fit.replay.trial import ALL_LAYERS, Override, Parameters

_REPLACED = frozenset(
    {"ctx-size", "gpu-layers", "tensor-split", "override-tensor", "cpu-moe", "n-cpu-moe", "n-cpu-ffn", "fit"}
    | {"kv-unified-per-slot"}
)
_BLOCK = re.compile(r"blk\\\.(\d+)\\\.(.*)")
_BY_FIT = "as --fit sets it"


def pinned_launch(launch: LaunchOptions, parameters: Parameters, detail: str = _BY_FIT) -> LaunchOptions:
    """The launch with these parameters typed out and `--fit` off: it plans what the fit would load."""
    kept = tuple(option for option in launch.options if option.name not in _REPLACED)
    values = {"fit": "off"}
    if parameters.n_ctx:
        values["ctx-size"] = str(parameters.n_ctx)
    if parameters.gpu_layers != ALL_LAYERS:
        values["gpu-layers"] = "all" if parameters.gpu_layers == -2 else str(parameters.gpu_layers)
    if any(parameters.tensor_split):
        values["tensor-split"] = split_text(parameters.tensor_split)
    if parameters.overrides:
        values["override-tensor"] = ",".join(f"{pattern}={buffer}" for pattern, buffer in parameters.overrides)
    added = tuple(LaunchOption(name, value, Origin.ASSUMED, detail) for name, value in values.items())
    return replace(launch, options=(*kept, *added))


def pinning_changes(parameters: Parameters) -> dict[str, str | None]:
    """The options that pin an outcome, by canonical name, but for the context."""
    changes: dict[str, str | None] = {"fit": "off"}
    if parameters.gpu_layers != ALL_LAYERS:
        changes["gpu-layers"] = str(parameters.gpu_layers)
    if any(parameters.tensor_split):
        changes["tensor-split"] = split_text(parameters.tensor_split)
    if parameters.overrides:
        changes["override-tensor"] = ",".join(f"{one}={buffer}" for one, buffer in _together(parameters.overrides))
    return changes


def pinning_flags(parameters: Parameters) -> tuple[str, ...]:
    """The words that pin an outcome of `--fit`; overrides of equal kind are drawn together."""
    words = ["-c", str(parameters.n_ctx)]
    if parameters.gpu_layers != ALL_LAYERS:
        words += ["-ngl", str(parameters.gpu_layers)]
    if any(parameters.tensor_split):
        words += ["-ts", split_text(parameters.tensor_split)]
    for pattern, buffer in _together(parameters.overrides):
        words += ["-ot", f"{pattern}={buffer}"]
    return (*words, "-fit", "off")


def split_text(split: tuple[float, ...]) -> str:
    """A split as it is typed: whole numbers without a point."""
    return ",".join(f"{share:g}" for share in split)


def _together(overrides: tuple[Override, ...]) -> list[Override]:
    """One pattern for the blocks whose tensors go to one place. No tensor is named by two of a fit's overrides."""
    found: dict[tuple[str, str], list[int]] = {}
    others: list[Override] = []
    for pattern, buffer in overrides:
        match = _BLOCK.fullmatch(pattern)
        if match is None or not match[1].isdecimal():
            others.append((pattern, buffer))
        else:
            found.setdefault((match[2], buffer), []).append(int(match[1]))
    drawn = [(rf"blk\.{_numbers(blocks)}\.{rest}", buffer) for (rest, buffer), blocks in found.items()]
    return [*others, *drawn]


def _numbers(numbers: Sequence[int]) -> str:
    """A pattern for just these numbers: 5, (19|2[0-9]|3[0-7])."""
    parts: list[str] = []
    left = sorted(numbers)
    while left:
        last = 0
        # A run within one ten.
        while last + 1 < len(left) and left[last + 1] == left[last] + 1 and left[last + 1] // 10 == left[0] // 10:
            last += 1
        tens = str(left[0] // 10) if left[0] >= 10 else ""
        run = f"[{left[0] % 10}-{left[last] % 10}]" if last else str(left[0] % 10)
        parts.append(tens + run)
        left = left[last + 1 :]
    return parts[0] if len(parts) == 1 else f"({'|'.join(parts)})"
