"""What an engine itself changes of a command before it loads anything: llama.cpp's `--fit`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FitValues:
    """The parameters that an engine loads with, in its own terms.

    `n_gpu_layers` counts the output layer; -1 is all of them, -2 all by name. `tensor_split` () is not set, else layers
    or shares by device. `overrides`: (pattern of tensor names, buffer type) in the engine's order.
    """

    n_ctx: int
    n_ctx_seq: int
    n_gpu_layers: int
    tensor_split: tuple[float, ...] = ()
    overrides: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class EngineFit:
    """What came of `--fit`.

    `is_applied`: it ran and succeeded, even where it changed nothing. `reason` says why not; what it had changed by
    then stays. `is_margin_kept`: every device keeps its margin. `is_within_free`: nothing exceeds what is free. Both
    are None where the model uses no accelerator. `change` says in words what became of the command, "" for nothing.
    `flags` would pin the outcome. `possible` are other outcomes that the estimate of compute memory leaves open.
    """

    is_applied: bool
    reason: str | None
    values: FitValues
    is_margin_kept: bool | None
    is_within_free: bool | None
    change: str = ""
    flags: tuple[str, ...] = ()
    possible: tuple[FitValues, ...] = ()
