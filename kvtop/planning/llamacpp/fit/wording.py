"""What `--fit` made of a command, in one line."""

import re
from collections.abc import Mapping, Sequence

from kvtop.planning.llamacpp.fit.replay.trial import ALL_LAYERS, CPU_BUFFER, Parameters

_BLOCK = re.compile(r"blk\\\.(\d+)\\\.ffn_(.*)")
_EXPERTS_ONLY = "(up|down|gate_up|gate)_(ch|)exps"


def change_in_words(
    before: tuple[int, Parameters],
    after: tuple[int, Parameters],
    layers: int,
    devices: Sequence[str],
    names: Mapping[str, str],
) -> str:
    """ "18 of 33 layers on gpu0, experts of layers 20 to 47 on the host, context 131072 → 43008"; "" for no change.

    `before` and `after`: the context that is made, and the parameters. `layers` counts the output layer. `devices` are
    those of the model by kvtop's names; `names` gives these for the engine's buffer types.
    """
    (context_before, asked), (context, chosen) = before, after
    parts = []
    moved = chosen.gpu_layers != asked.gpu_layers or chosen.tensor_split != asked.tensor_split
    if moved and chosen.gpu_layers != ALL_LAYERS:
        parts.append(_layers(chosen, layers, devices))
    if chosen.overrides != asked.overrides:
        parts += _overflowing(chosen, layers - 1, names)
    if context != context_before:
        parts.append(f"context {context_before} → {context}")
    return ", ".join(part for part in parts if part)


def _layers(chosen: Parameters, layers: int, devices: Sequence[str]) -> str:
    if len(devices) == 1:
        return f"{chosen.gpu_layers} of {layers} layers on {devices[0]}" if chosen.gpu_layers < layers else ""
    shares = ", ".join(
        f"{share:g} on {device}" for share, device in zip(chosen.tensor_split, devices, strict=False) if share
    )
    if not shares:
        return f"none of {layers} layers on a device"
    return f"{chosen.gpu_layers} of {layers} layers on devices: {shares}"


def _overflowing(chosen: Parameters, blocks: int, names: Mapping[str, str]) -> list[str]:
    """Layers without experts, and those that are split between two places. Numbers beyond the blocks name nothing."""
    without: list[int] = []
    parts = []
    for pattern, buffer in chosen.overrides:
        match = _BLOCK.fullmatch(pattern)
        if match is None or int(match[1]) >= blocks:
            continue
        if match[2] == _EXPERTS_ONLY:
            without.append(int(match[1]))
        else:
            place = "the host" if buffer == CPU_BUFFER else names.get(buffer, buffer)
            parts.append(f"layer {match[1]} in part on {place}")
    if without:
        parts.append(f"experts of {ranges(without)} on the host")
    return parts


def ranges(numbers: Sequence[int]) -> str:
    """ "layer 5", "layers 20 to 47", "layers 3, 9 to 12"."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    words = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in spans)
    return f"layer{'' if len(numbers) == 1 else 's'} {words}"
