"""What `--fit` measures, and what a measurement says (`common_get_device_memory_data_impl`, common/fit.cpp, b11434)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

CPU_BUFFER = "CPU"
"""Buffer type of `ggml_backend_cpu_buffer_type()`."""

ALL_LAYERS = -1
"""`n_gpu_layers` that nobody set. Any other value, `all` (-2) included, was set by the user."""

Override = tuple[str, str]
"""A regular expression on tensor names, and the buffer type that the matching tensors go to."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The part of `llama_model_params` and `llama_context_params` that `--fit` reads and writes.

    `n_ctx` 0 takes the trained context. `tensor_split` () is not set.
    """

    n_ctx: int
    gpu_layers: int = ALL_LAYERS
    tensor_split: tuple[float, ...] = ()
    overrides: tuple[Override, ...] = ()

    def with_context(self, n_ctx: int) -> "Parameters":
        """The same for another context."""
        return replace(self, n_ctx=n_ctx)


@dataclass(frozen=True, slots=True)
class TrialMemory:
    """Bytes by device of the model, in the engine's order; the host apart.

    `used`: weights, caches, states and compute buffers of the model and of a draft beside it. `model`: weights alone.
    `free`: what the device reports while the measured context still lives.
    """

    used_bytes: tuple[int, ...]
    model_bytes: tuple[int, ...]
    free_bytes: tuple[int, ...]
    host_used_bytes: int = 0


Measure = Callable[[Parameters], TrialMemory]


class MeasuringError(Exception):
    """The engine cannot load the model or create the context with these parameters. str() is what it logs."""


@dataclass(frozen=True, slots=True)
class FitModel:
    """What `--fit` knows of a model. `n_layer` counts prediction blocks only where they are loaded."""

    n_layer: int
    n_ctx_train: int
    n_expert: int


@dataclass(frozen=True, slots=True)
class FitRequest:
    """What `--fit` starts from.

    `devices` are the buffer types of the model's devices ("CUDA0" …); `margins_bytes` has one entry a device, or one
    for the host where there is no device. `least_ctx` is `--fit-ctx` of one sequence, `streams` how many sequences have
    cells of their own. `host_total_bytes` counts only without devices.
    """

    model: FitModel
    devices: tuple[str, ...]
    margins_bytes: tuple[int, ...]
    parameters: Parameters
    least_ctx: int = 4096
    streams: int = 1
    split_mode: str = "layer"
    host_total_bytes: int | None = None
