"""`--gpu SPEC`: a size, a product's name, or none; and which of this machine's cards an engine will see."""

import re
from collections.abc import Sequence
from dataclasses import replace

from kvtop.domain.device import Device
from kvtop.domain.plan import PlanDevice
from kvtop.planning.gpus.products import PRODUCTS, Product
from kvtop.text import parse_bytes

DEFAULT_CAPABILITY = (8, 9)
"""What a bare size is taken as: an NVIDIA card of the Ada generation."""
BACKENDS = ("cuda", "rocm", "metal", "vulkan")

_MIB = 1024 * 1024
_CAPABILITY = re.compile(r"(\d+)\.(\d+)")
_DECORATION = re.compile(
    r"NVIDIA|GEFORCE|TESLA|QUADRO|AMD|RADEON|INSTINCT|GENERATION|BLACKWELL|WORKSTATION|SERVER|EDITION|GPU|PCIE|SXM\d?"
    r"|HBM\d?E?"
)
_SIZED = re.compile(r"\s(\d+) ?GI?B\b")


def parse_gpu_specs(specs: Sequence[str]) -> tuple[PlanDevice, ...]:
    """One device for each SPEC, "gpu0" first. `none` alone is no device. Raises ValueError with what is accepted."""
    if any(spec.strip().lower() == "none" for spec in specs):
        if len(specs) > 1:
            raise ValueError("--gpu none stands alone: it means that there is no accelerator")
        return ()
    return tuple(_device(index, spec) for index, spec in enumerate(specs))


def chosen_specs(devices: tuple[PlanDevice, ...], setting: str | None) -> tuple[PlanDevice, ...]:
    """The devices of `--gpu` that a typed CUDA_VISIBLE_DEVICES picks, as the engine numbers them.

    Nothing or -1 hides them all. Where its numbers do not pick among them, `--gpu` already says what the server sees.
    """
    if setting is not None and setting.strip() in {"", "-1"}:
        return ()
    entries = [entry.strip() for entry in (setting or "").split(",")]
    numbers = [int(entry) for entry in entries if entry.isdecimal()]
    is_choice = len(numbers) == len(entries) < len(devices) and max(numbers) < len(devices)
    if not is_choice:
        return devices
    return tuple(replace(devices[number], name=f"gpu{index}") for index, number in enumerate(numbers))


def _device(index: int, spec: str) -> PlanDevice:
    head, *settings = (part.strip() for part in spec.split(","))
    product = find_product(head)
    if product is None:
        product = Product(_size(spec, head), DEFAULT_CAPABILITY, "cuda")
        name = ""
    else:
        name = head
    capability, backend = product.compute_capability, product.backend
    for setting in settings:
        key, _, value = setting.partition("=")
        numbers = _CAPABILITY.fullmatch(value)
        if key == "cc" and numbers is not None:
            capability, backend = (int(numbers[1]), int(numbers[2])), "cuda"
        elif key == "backend" and value in BACKENDS:
            backend = value
            capability = capability if backend == "cuda" else None
        else:
            raise ValueError(
                f"--gpu {spec!r}: after the comma comes cc=MAJOR.MINOR (for example cc=9.0) or backend= one of "
                f"{', '.join(BACKENDS)}"
            )
    return PlanDevice(
        name=f"gpu{index}",
        total_bytes=product.total_bytes,
        free_bytes=product.total_bytes,
        compute_capability=capability,
        backend=backend,
        product=name,
    )


def _size(spec: str, text: str) -> int:
    try:
        size_bytes = parse_bytes(text)
    except ValueError as error:
        names = ", ".join(PRODUCTS)
        raise ValueError(f"--gpu {spec!r}: neither a size (24GiB) nor none nor a known product ({names})") from error
    if size_bytes < _MIB:
        raise ValueError(f"--gpu {spec!r}: less than 1 MiB; a size needs its unit, as in 24GiB")
    return size_bytes


def find_product(name: str) -> Product | None:
    """A product by its everyday name or as the driver writes it ("NVIDIA A100-SXM4-40GB"), or None."""
    plain = _DECORATION.sub(" ", name.upper().replace("-", " "))
    by_name = {_squeezed(known.upper()): product for known, product in PRODUCTS.items()}
    if _squeezed(plain) in by_name:
        return by_name[_squeezed(plain)]
    sized = _SIZED.search(plain)
    if sized is None:
        return None
    product = by_name.get(_squeezed(plain[: sized.start()] + plain[sized.end() :]))
    if product is None:
        return None
    size_bytes = int(sized[1]) * 1024 * _MIB
    # The driver's own total is a little off the size in the name; another size is another card.
    is_same = abs(size_bytes - product.total_bytes) * 10 < size_bytes
    return product if is_same else Product(size_bytes, product.compute_capability, product.backend)


def _squeezed(text: str) -> str:
    return re.sub(r"[\s_-]", "", text)


def visible_devices(devices: Sequence[Device], setting: str | None) -> tuple[PlanDevice, ...]:
    """This machine's accelerators as an engine numbers them, under CUDA_VISIBLE_DEVICES (None: not set).

    A card that is cut into slices is none itself. CUDA stops at the first entry that names no device.
    """
    cut = {device.parent_id for device in devices if device.parent_id is not None}
    cards = [device for device in devices if device.backend != "host" and device.id not in cut]
    chosen: list[Device] = cards if setting is None else []
    for entry in (setting or "").split(","):
        found = _named(cards, entry.strip())
        if found is None:
            break
        chosen.append(found)
    return tuple(
        PlanDevice(
            name=f"gpu{index}",
            total_bytes=card.memory.total_bytes,
            free_bytes=card.memory.free_bytes,
            compute_capability=card.compute_capability,
            backend="cuda" if card.backend == "nvml" else card.backend,
            product=card.name,
        )
        for index, card in enumerate(chosen)
    )


def _named(cards: Sequence[Device], entry: str) -> Device | None:
    """By number, or by the start of a UUID."""
    if entry.isdecimal():
        return cards[int(entry)] if int(entry) < len(cards) else None
    if not entry.startswith(("GPU-", "MIG-")):
        return None
    return next((card for card in cards if card.uuid is not None and card.uuid.startswith(entry)), None)
