"""`--fit` brings experts back to the devices, front to back (`common_params_fit_impl`, step 4, b11434).

Layers without experts move from the back to a device in front and become whole there, until it is full. Then one more
layer is tried in part; what does not stay goes to the next device, from the last one to the CPU.
"""

from dataclasses import replace

from kvtop.planning.llamacpp.fit.replay.filling import LayerFilling
from kvtop.planning.llamacpp.fit.replay.integers import as_uint32, step_between
from kvtop.planning.llamacpp.fit.replay.shares import Kept, Share


def fill_experts(filling: LayerFilling) -> None:
    """Make layers whole, from the first device to the last one that still has layers without experts."""
    start = filling.devices
    while start > 0 and filling.shares[start - 1].n_layer > 0:
        start -= 1
    device = 0
    while device <= start < filling.devices:
        start = _fill(filling, device, start)
        start = _extra_layer(filling, device, start)
        device += 1


def _fill(filling: LayerFilling, device: int, start: int) -> int:
    """Returns the first device that still has layers without experts."""
    high, start_high = _all_whole(filling, device, start), filling.devices - 1
    used_high = filling.try_out(high)
    target = filling.targets[device]
    if used_high[device] <= target:
        filling.accept(high, used_high)
        return start_high
    while (distance := as_uint32(high[device].n_full - filling.shares[device].n_full)) > 1:
        step = step_between(distance, target, filling.used[device], used_high[device])
        trial, start_trial = _some_whole(filling, device, start, step)
        used = filling.try_out(trial)
        if used[device] <= target:
            filling.accept(trial, used)
            start = start_trial
        else:
            high, used_high, start_high = trial, used, start_trial
    return start


def _all_whole(filling: LayerFilling, device: int, start: int) -> tuple[Share, ...]:
    """Everything from `start` on at `device`, but for the output layer."""
    shares = list(filling.shares)
    last = filling.devices - 1
    for other in range(start, filling.devices):
        moved = as_uint32(shares[other].n_layer - (1 if other == last else 0))
        shares[device] = shares[device].grown(moved, 0)
        shares[other] = replace(shares[other].grown(-moved, 0), n_part=0)
    return tuple(shares)


def _some_whole(filling: LayerFilling, device: int, start: int, step: int) -> tuple[tuple[Share, ...], int]:
    shares = list(filling.shares)
    converted = 0
    while start < filling.devices:
        moved = min(as_uint32(step - converted), shares[start].n_part)
        shares[start] = shares[start].grown(-moved, -moved)
        shares[device] = shares[device].grown(moved, 0)
        converted += moved
        if shares[start].n_part > 0:
            break
        start += 1
    return tuple(shares), start


def _extra_layer(filling: LayerFilling, device: int, start: int) -> int:
    """One more layer in part: with attention and up, then with the gate too, else with attention alone."""
    last = filling.devices - 1
    if filling.shares[start].n_layer <= (0 if device < last else 1):
        return start
    shares = list(filling.shares)
    shares[start] = shares[start].grown(-1, -1)
    shares[device] = shares[device].grown(1, 1)
    start_trial = start + 1 if shares[start].n_part == 0 else start
    overflow = filling.request.devices[device + 1] if device < last else shares[device].overflow
    if _accepts(filling, device, tuple(shares), Kept.UP, overflow):
        _accepts(filling, device, tuple(shares), Kept.GATE, overflow)
        return start_trial
    return start_trial if _accepts(filling, device, tuple(shares), Kept.ATTENTION, overflow) else start


def _accepts(filling: LayerFilling, device: int, shares: tuple[Share, ...], kept: Kept, overflow: str) -> bool:
    part = replace(shares[device], kept=kept, overflow=overflow)
    trial = (*shares[:device], part, *shares[device + 1 :])
    used, targets = filling.try_out(trial), filling.targets
    following = device + 1
    fits = used[device] < targets[device]
    fits = fits and (following == filling.devices or used[following] < targets[following])
    if fits:
        filling.accept(trial, used)
    return fits
