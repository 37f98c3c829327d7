"""An accelerator of the catalogue that `--gpu` takes by name."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownGpu:
    """`driver_bytes` is what its driver reports, `total_bytes` what its API reports, as `source` says.

    `reserve_low_bytes` and `reserve_high_bytes` come off the latter for every process. `bytes_per_second` None: no data
    sheet says it. `compute_capability` None: it is not of CUDA.
    """

    name: str
    aliases: tuple[str, ...]
    compute_api: str
    compute_capability: tuple[int, int] | None
    driver_bytes: int
    total_bytes: int
    reserve_low_bytes: int
    reserve_high_bytes: int
    bytes_per_second: int | None
    source: str
