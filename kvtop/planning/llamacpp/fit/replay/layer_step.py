"""`--fit` gives layers to devices, back to front (`common_params_fit_impl`, step 3, b11434).

Layers of a mixture come without their experts. Only the device being filled is held against its target: what a trial
does to the others is not looked at.
"""

from kvtop.planning.llamacpp.fit.replay.filling import LayerFilling
from kvtop.planning.llamacpp.fit.replay.integers import step_between
from kvtop.planning.llamacpp.fit.replay.shares import Share, changed


def fill_layers(filling: LayerFilling) -> None:
    """Move layers to the devices until each is full, from the last device to the first."""
    for device in reversed(range(filling.devices)):
        _fill(filling, device)


def _fill(filling: LayerFilling, device: int) -> None:
    left = filling.n_layer + 1 - sum(share.n_layer for share in filling.shares[device + 1 :])
    if left <= 0:
        return
    high = changed(filling.shares, device, Share(left, _partial(filling, device, 0, left)))
    used_high = filling.try_out(high)
    target = filling.targets[device]
    if used_high[device] <= target:
        filling.accept(high, used_high)
        return
    while (distance := high[device].n_layer - filling.shares[device].n_layer) > 1:
        step = step_between(distance, target, filling.used[device], used_high[device])
        before = filling.shares[device]
        trial = changed(filling.shares, device, before.grown(step, _partial(filling, device, before.n_part, step)))
        used = filling.try_out(trial)
        if used[device] <= target:
            filling.accept(trial, used)
        else:
            high, used_high = trial, used


def _partial(filling: LayerFilling, device: int, before: int, layers: int) -> int:
    """How many of the added layers lack their experts.

    The output layer is whole. The engine takes the first of an addition for it while no layer is partial: once too
    often where the output layer was accepted alone.
    """
    if not filling.is_mixture:
        return 0
    return layers - 1 if device == filling.devices - 1 and before == 0 else layers
