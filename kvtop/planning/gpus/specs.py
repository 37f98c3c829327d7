"""`--gpu SPEC`: a size, a product's name, or none."""

import re
from collections.abc import Sequence
from functools import lru_cache

from kvtop.domain.compute_api import COMPUTE_APIS, CUDA
from kvtop.domain.plan import PlanDevice
from kvtop.planning.gpus.products import ALIASES, DECORATION, PRODUCTS, GpuProduct
from kvtop.planning.gpus.reserve import FreeSays, with_reserve
from kvtop.text import UnusableTextError, did_you_mean, parse_bandwidth, parse_bytes, plain_number

DEFAULT_CAPABILITY = (8, 9)
"""What a bare size is taken as: a CUDA card of the Ada generation."""

_MIB = 1024 * 1024
_CAPABILITY = re.compile(r"(\d+)\.(\d+)")
_SIZED = re.compile(r"\s(\d{1,4}) ?GI?B\b")
_COUNTED = re.compile(r"(\d{1,9}) ?[xX*] ?(\S.*)")
MOST_DEVICES = 1024
"""More than one machine has, and few enough to plan."""


def parse_gpu_specs(specs: Sequence[str]) -> tuple[PlanDevice, ...]:
    """The devices of each SPEC in order, "gpu0" first: `2x24GiB` is two. `none` alone is no device.

    Raises ValueError with what is accepted.
    """
    if any(spec.strip().lower() == "none" for spec in specs):
        if len(specs) > 1:
            raise UnusableTextError("--gpu none stands alone: it means that there is no accelerator")
        return ()
    single = [one for spec in specs for one in _repeated(spec)]
    if len(single) > MOST_DEVICES:
        raise UnusableTextError(f"--gpu: {len(single)} devices; at most {MOST_DEVICES} are planned")
    return tuple(_device(index, spec) for index, spec in enumerate(single))


def _repeated(spec: str) -> tuple[str, ...]:
    """`8xH200` as eight specs; one that no number stands before as it is."""
    found = _COUNTED.fullmatch(spec.strip())
    if found is None:
        return (spec,)
    count = plain_number(found[1], MOST_DEVICES)
    if not count:
        raise UnusableTextError(f"--gpu {spec!r}: from 1 to {MOST_DEVICES} devices")
    return (found[2],) * count


def _device(index: int, spec: str) -> PlanDevice:
    head, *settings = (part.strip() for part in spec.split(","))
    product = find_product(head)
    if product is None:
        product = GpuProduct(_size(spec, head), DEFAULT_CAPABILITY, CUDA.name, source="stated")
        name = ""
    else:
        name = head
    capability, api = product.compute_capability, product.compute_api
    total_bytes = product.api_total_bytes
    free_bytes, says = total_bytes, FreeSays.DRIVER if name else FreeSays.EITHER
    bytes_per_second = None
    for setting in settings:
        key, _, value = setting.partition("=")
        numbers = _CAPABILITY.fullmatch(value)
        if key == "free":
            free_bytes, says = _free(spec, value, total_bytes), FreeSays.PROCESS
        elif key == "bandwidth":
            bytes_per_second = _bandwidth(spec, value)
        elif key == "cc" and numbers is not None:
            capability, api = (int(numbers[1]), int(numbers[2])), CUDA.name
        elif key == "backend" and value in COMPUTE_APIS:
            api = value
            capability = capability if api == CUDA.name else None
        else:
            raise UnusableTextError(
                f"--gpu {spec!r}: after the comma comes cc=MAJOR.MINOR (for example cc=9.0), free=SIZE, "
                f"bandwidth=936GB/s or backend= one of {', '.join(COMPUTE_APIS)}"
            )
    device = PlanDevice(
        name=f"gpu{index}",
        total_bytes=total_bytes,
        free_bytes=free_bytes,
        compute_capability=capability,
        compute_api=api,
        product=name,
        bytes_per_second=bytes_per_second,
    )
    return with_reserve(device, says)


def _bandwidth(spec: str, text: str) -> int:
    try:
        return parse_bandwidth(text)
    except ValueError as error:
        raise UnusableTextError(f"--gpu {spec!r}: {error}") from error


def _free(spec: str, text: str, total_bytes: int) -> int:
    """What the API reports as free to the engine's process before it loads anything."""
    try:
        size_bytes = parse_bytes(text)
    except ValueError as error:
        raise UnusableTextError(f"--gpu {spec!r}: free= takes a size with its unit, as in free=23.5GiB") from error
    if size_bytes > total_bytes:
        raise UnusableTextError(f"--gpu {spec!r}: more is free than there is")
    return size_bytes


def _size(spec: str, text: str) -> int:
    try:
        size_bytes = parse_bytes(text)
    except ValueError as error:
        meant = did_you_mean(text, (*PRODUCTS, *ALIASES))
        raise UnusableTextError(
            f"--gpu {spec!r}: neither a size (24GiB) nor none nor a known product{meant} (`kvtop gpus` lists them)"
        ) from error
    if size_bytes < _MIB:
        raise UnusableTextError(f"--gpu {spec!r}: less than 1 MiB; a size needs its unit, as in 24GiB")
    return size_bytes


@lru_cache(maxsize=256)
def find_product(name: str) -> GpuProduct | None:
    """A product by its everyday name or as its driver writes it ("… A100-SXM4-40GB"), or None."""
    by_name = _by_name()
    as_typed = name.upper().replace("-", " ")
    plain = DECORATION.sub(" ", as_typed)
    for text in (as_typed, plain):
        found = by_name.get(_squeezed(text))
        if found is not None:
            return found
    sized = _SIZED.search(plain)
    if sized is None:
        return None
    product = by_name.get(_squeezed(plain[: sized.start()] + plain[sized.end() :]))
    if product is None:
        return None
    size_bytes = int(sized[1]) * 1024 * _MIB
    # The driver's own total is a little off the size in the name; another size is another card.
    is_same = abs(size_bytes - product.total_bytes) * 10 < size_bytes
    return product if is_same else product.of_size(size_bytes)


@lru_cache(maxsize=1)
def _by_name() -> dict[str, GpuProduct]:
    """Every name as it stands, and without what drivers write around it where that names no other product."""
    whole = {**PRODUCTS, **{alias: PRODUCTS[name] for alias, name in ALIASES.items()}}
    plain = {_squeezed(DECORATION.sub(" ", known.upper())): product for known, product in whole.items()}
    return {**plain, **{_squeezed(known.upper()): product for known, product in whole.items()}}


def _squeezed(text: str) -> str:
    return re.sub(r"[\s_-]", "", text)
