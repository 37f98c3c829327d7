"""`--gpu SPEC`: a size, a size with its capability, a product's name, or none."""

import re
from collections.abc import Mapping

from kvtop.domain.plan import PlanDevice
from kvtop.text import parse_bytes

DEFAULT_CAPABILITY = (8, 9)
"""What a bare size is taken as: an NVIDIA card of the Ada generation."""

_PRODUCTS: Mapping[str, tuple[int, tuple[int, int]]] = {
    # name in capitals without blanks: (MiB as the driver reports it, or the nominal size; compute capability)
    "RTX3060": (12288, (8, 6)),
    "RTX3080": (10240, (8, 6)),
    "RTX3090": (24576, (8, 6)),
    "RTX4060TI": (16380, (8, 9)),
    "RTX4070": (12282, (8, 9)),
    "RTX4080": (16376, (8, 9)),
    "RTX4090": (24564, (8, 9)),
    "RTX5070TI": (16303, (12, 0)),
    "RTX5080": (16303, (12, 0)),
    "RTX5090": (32607, (12, 0)),
    "RTXA6000": (49140, (8, 6)),
    "RTX6000ADA": (49140, (8, 9)),
    "RTXPRO6000": (97887, (12, 0)),
    "T4": (15360, (7, 5)),
    "V100": (32768, (7, 0)),
    "A10": (23028, (8, 6)),
    "A40": (46068, (8, 6)),
    "A100": (81920, (8, 0)),
    "A10040GB": (40960, (8, 0)),
    "L4": (23034, (8, 9)),
    "L40S": (46068, (8, 9)),
    "H100": (81559, (9, 0)),
    "H200": (143771, (9, 0)),
    "B200": (183359, (10, 0)),
}
_CAPABILITY = re.compile(r"cc=(\d+)\.(\d+)")


def parse_gpu_specs(specs: list[str]) -> tuple[PlanDevice, ...]:
    """One device for each SPEC, "gpu0" first. `none` alone is no device. Raises ValueError with what is accepted."""
    if any(spec.strip().lower() == "none" for spec in specs):
        if len(specs) > 1:
            raise ValueError("--gpu none stands alone: it means that there is no accelerator")
        return ()
    return tuple(_device(index, spec) for index, spec in enumerate(specs))


def _device(index: int, spec: str) -> PlanDevice:
    size, _, rest = spec.partition(",")
    product = _PRODUCTS.get(re.sub(r"[\s_-]|NVIDIA|GEFORCE|TESLA", "", size.upper()))
    capability = product[1] if product else DEFAULT_CAPABILITY
    if rest:
        match = _CAPABILITY.fullmatch(rest.strip())
        if match is None:
            raise ValueError(f"--gpu {spec!r}: after the comma comes cc=MAJOR.MINOR, for example cc=9.0")
        capability = int(match[1]), int(match[2])
    if product is not None:
        total_bytes = product[0] * 1024 * 1024
    else:
        try:
            total_bytes = parse_bytes(size)
        except ValueError as error:
            names = ", ".join(sorted(_PRODUCTS))
            raise ValueError(
                f"--gpu {spec!r}: neither a size (24GiB) nor none nor a known product ({names})"
            ) from error
    return PlanDevice(
        name=f"gpu{index}",
        total_bytes=total_bytes,
        free_bytes=total_bytes,
        compute_capability=capability,
        product=size.strip() if product else "",
    )
