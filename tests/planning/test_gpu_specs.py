"""`--gpu SPEC`, and the cards of this machine as an engine numbers them."""

import pytest

from kvtop.domain.compute_api import CUDA
from kvtop.domain.device import Device, DeviceMemory
from kvtop.domain.driver import HOST_DRIVER
from kvtop.domain.plan import PlanDevice
from kvtop.planning.gpus import specs
from kvtop.planning.gpus.products import PRODUCTS, GpuProduct
from kvtop.planning.gpus.specs import find_product, parse_gpu_specs
from kvtop.planning.gpus.visible_devices import chosen_specs, plan_device, visible_devices
from kvtop.sources.devices.nvml import NVML

GIB = 1024**3
MIB = 1024**2


def test_a_bare_size_is_a_card_of_the_ada_generation() -> None:
    (device,) = parse_gpu_specs(["24GiB"])
    assert (device.name, device.total_bytes, device.free_bytes) == ("gpu0", 24 * GIB, 24 * GIB)
    assert (device.compute_capability, device.compute_api, device.product) == ((8, 9), "cuda", "")


def test_specs_are_numbered_in_order() -> None:
    devices = parse_gpu_specs(["80GiB,cc=9.0", "RTX 4090", "64GiB, backend=metal", "RX 7900 XTX"])
    assert [device.name for device in devices] == ["gpu0", "gpu1", "gpu2", "gpu3"]
    assert [device.compute_capability for device in devices] == [(9, 0), (8, 9), None, None]
    assert [device.compute_api for device in devices] == ["cuda", "cuda", "metal", "rocm"]
    assert devices[1].product == "RTX 4090"


def test_none_is_no_device_and_stands_alone() -> None:
    assert parse_gpu_specs(["none"]) == ()
    with pytest.raises(ValueError, match="alone"):
        parse_gpu_specs(["none", "24GiB"])


@pytest.mark.parametrize(
    ("name", "mib", "capability"),
    [
        ("rtx4090", 24564, (8, 9)),
        ("NVIDIA GeForce RTX 4090", 24564, (8, 9)),
        ("NVIDIA H100 80GB HBM3", 81559, (9, 0)),
        ("NVIDIA H100 PCIe", 81559, (9, 0)),
        ("H100 NVL", 95830, (9, 0)),
        ("NVIDIA A100-SXM4-40GB", 40960, (8, 0)),
        ("A100 80GB", 81920, (8, 0)),
        ("V100 16GB", 16384, (7, 0)),
        ("Tesla T4", 15360, (7, 5)),
        ("NVIDIA RTX 6000 Ada Generation", 49140, (8, 9)),
    ],
)
def test_products_by_everyday_name_and_by_the_drivers(name: str, mib: int, capability: tuple[int, int]) -> None:
    product = find_product(name)
    assert product is not None
    assert (product.total_bytes, product.compute_capability) == (mib * MIB, capability)


def test_every_product_is_found_by_its_own_name() -> None:
    for name, product in PRODUCTS.items():
        assert find_product(name) == product
        assert (product.compute_capability is None) == (product.compute_api != "cuda")


@pytest.mark.parametrize("spec", ["RTX 9999", "", "24", "x,cc=9.0", "24GiB,cc=9", "24GiB,backend=abacus", "24GiB,"])
def test_a_bad_spec_is_named(spec: str) -> None:
    with pytest.raises(ValueError, match="--gpu") as caught:
        parse_gpu_specs([spec])
    assert repr(spec) in str(caught.value)


def card(number: int, **changes: object) -> Device:
    memory = DeviceMemory(total_bytes=24 * GIB, free_bytes=(20 + number) * GIB)
    identity = {
        "id": f"gpu{number}",
        "name": f"card {number}",
        "driver": NVML,
        "uuid": f"GPU-{number}abc",
        **changes,
    }
    return Device(memory=memory, processes=(), measured_at=0.0, **identity)  # type: ignore[arg-type]  # names of fields, each with its own type


def environ_of(setting: str | None) -> dict[str, str]:
    return {} if setting is None else {"CUDA_VISIBLE_DEVICES": setting}


def seen(devices: tuple[Device, ...], setting: str | None) -> list[PlanDevice]:
    found = visible_devices(devices, CUDA, environ_of(setting))
    return [plan_device(f"gpu{at}", it, CUDA, it.memory.free_bytes) for at, it in enumerate(found)]


CARDS = (card(0), card(1), card(2), card(9, id="host", driver=HOST_DRIVER))


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        (None, ["card 0", "card 1", "card 2"]),
        ("2,0", ["card 2", "card 0"]),
        ("", []),
        ("-1", []),
        ("1,7,0", ["card 1"]),
        ("GPU-2", ["card 2"]),
        ("nonsense", []),
    ],
)
def test_cards_are_those_that_cuda_would_show(setting: str | None, names: list[str]) -> None:
    devices = seen(CARDS, setting)
    assert [device.product for device in devices] == names
    assert [device.name for device in devices] == [f"gpu{index}" for index in range(len(names))]
    assert all(device.compute_api == "cuda" for device in devices)


def test_a_card_cut_into_slices_is_none_itself() -> None:
    devices = seen((card(0), card(1, id="gpu0:mig0", parent_id="gpu0")), None)
    assert [device.product for device in devices] == ["card 1"]
    assert devices[0].free_bytes == 21 * GIB


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, [24, 48, 80]),
        ("2,0", [80, 24]),
        ("1", [48]),
        ("", []),
        ("-1", []),
        ("3", [24, 48, 80]),
        ("0,1,2", [24, 48, 80]),
        ("GPU-1234", [24, 48, 80]),
    ],
)
def test_visible_devices_choose_among_given_ones(setting: str | None, expected: list[int]) -> None:
    devices = chosen_specs(parse_gpu_specs(["24GiB", "48GiB", "80GiB"]), environ_of(setting))
    assert [(device.total_bytes or 0) >> 30 for device in devices] == expected
    assert [device.name for device in devices] == [f"gpu{index}" for index in range(len(expected))]


@pytest.mark.parametrize(
    ("name", "size_gib", "api"),
    [
        ("AMD Radeon RX 7900 XTX", 24, "rocm"),
        ("Intel(R) Arc(TM) B580 Graphics", 12, "sycl"),
        ("Intel Arc A770", 16, "sycl"),
    ],
)
def test_products_of_every_maker_are_found_as_drivers_write_them(name: str, size_gib: int, api: str) -> None:
    product = find_product(name)
    assert product is not None
    assert (round(product.total_bytes / GIB), product.compute_api) == (size_gib, api)


def test_a_card_has_a_mib_at_least() -> None:
    (device,) = parse_gpu_specs(["1MiB"])
    assert device.total_bytes == MIB
    with pytest.raises(ValueError, match="less than 1 MiB"):
        parse_gpu_specs([f"{MIB - 1}B"])


@pytest.mark.parametrize(
    ("total_mib", "is_same"), [(36 * 1024, False), (36 * 1024 + 1, True), (44 * 1024 - 1, True), (44 * 1024, False)]
)
def test_a_size_in_the_name_is_the_products_own_within_a_tenth(
    monkeypatch: pytest.MonkeyPatch, total_mib: int, is_same: bool
) -> None:
    """What a driver reports is a little less than the name says; a card of another size is another card."""
    product = GpuProduct(total_mib * MIB, (8, 0), "cuda")
    monkeypatch.setitem(PRODUCTS, "Z100", product)
    monkeypatch.setattr(specs, "_by_name", specs._by_name.__wrapped__)  # read anew, with this one
    found = find_product.__wrapped__("NVIDIA Z100-SXM4-40GB")
    assert found == (product if is_same else product.of_size(40 * GIB))
