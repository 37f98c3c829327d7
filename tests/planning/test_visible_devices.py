"""Which of a machine's devices a program sees, by the variables of its API."""

import pytest

from kvtop.domain.compute_api import COMPUTE_APIS, CUDA, ROCM, SYCL, VULKAN, ComputeApi
from kvtop.domain.device import Device, DeviceMemory
from kvtop.domain.driver import HOST_DRIVER, Driver
from kvtop.planning.gpus.specs import parse_gpu_specs
from kvtop.planning.gpus.visible_devices import chosen_specs, plan_device, usable_devices, visible_devices
from kvtop.sources.devices.amdgpu import AMDGPU
from kvtop.sources.devices.nvml import NVML

GIB = 2**30


def device(name: str, driver: Driver, uuid: str | None = None) -> Device:
    return Device(name, name, driver, DeviceMemory(24 * GIB, GIB, 23 * GIB), (), 0.0, uuid=uuid)


MACHINE = (
    device("gpu0", NVML, "GPU-5a3c"),
    device("gpu1", AMDGPU, "GPU-00000000000000aa"),
    device("gpu2", AMDGPU, "GPU-00000000000000bb"),
    device("gpu3", AMDGPU, "GPU-00000000000000cc"),
    device("host", HOST_DRIVER),
)


@pytest.mark.parametrize(
    ("api", "expected"),
    [(CUDA, ["gpu0"]), (ROCM, ["gpu1", "gpu2", "gpu3"]), (VULKAN, ["gpu0", "gpu1", "gpu2", "gpu3"]), (SYCL, [])],
)
def test_an_api_reaches_the_cards_of_its_drivers(api: ComputeApi, expected: list[str]) -> None:
    assert [it.id for it in usable_devices(MACHINE, api)] == expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ["gpu1", "gpu2", "gpu3"]),
        ({"HIP_VISIBLE_DEVICES": "2,0"}, ["gpu3", "gpu1"]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ["gpu2"]),
        ({"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "1"}, ["gpu1"]),
        ({"ROCR_VISIBLE_DEVICES": "2,1"}, ["gpu3", "gpu2"]),
        ({"ROCR_VISIBLE_DEVICES": "1,2", "HIP_VISIBLE_DEVICES": "1"}, ["gpu3"]),
        ({"ROCR_VISIBLE_DEVICES": "GPU-00000000000000cc"}, ["gpu3"]),
        ({"ROCR_VISIBLE_DEVICES": "0", "HIP_VISIBLE_DEVICES": "1"}, []),
        ({"HIP_VISIBLE_DEVICES": ""}, []),
        ({"GGML_VK_VISIBLE_DEVICES": "1"}, ["gpu1", "gpu2", "gpu3"]),
    ],
)
def test_rocm_chooses_in_two_steps(environ: dict[str, str], expected: list[str]) -> None:
    assert [it.id for it in visible_devices(MACHINE, ROCM, environ)] == expected


def test_vulkan_has_a_variable_of_its_own_and_no_uuids() -> None:
    assert [it.id for it in visible_devices(MACHINE, VULKAN, {"GGML_VK_VISIBLE_DEVICES": "3,1"})] == ["gpu3", "gpu1"]
    assert visible_devices(MACHINE, VULKAN, {"GGML_VK_VISIBLE_DEVICES": "GPU-5a3c"}) == ()


def test_the_same_variables_choose_among_given_devices() -> None:
    given = parse_gpu_specs(["24GiB,backend=rocm", "48GiB,backend=rocm", "96GiB,backend=rocm"])
    sizes = [(it.name, (it.total_bytes or 0) >> 30) for it in chosen_specs(given, {"HIP_VISIBLE_DEVICES": "2,0"})]
    assert sizes == [("gpu0", 96), ("gpu1", 24)]
    assert chosen_specs(given, {"GGML_VK_VISIBLE_DEVICES": "0"}) == given


def test_a_source_that_tells_the_name_alone_gets_the_rest_from_the_catalogue() -> None:
    named = Device("n1:gpu0", "NVIDIA H100 80GB HBM3", NVML, DeviceMemory(80 * GIB), (), 0.0)
    assert plan_device("gpu0", named, CUDA, None).compute_capability == (9, 0)
    assert plan_device("gpu0", named, VULKAN, None).compute_capability is None


def test_every_api_has_a_name_and_no_two_share_a_title() -> None:
    assert [name for name, api in COMPUTE_APIS.items() if name != api.name] == []
    assert len({api.title for api in COMPUTE_APIS.values()}) == len(COMPUTE_APIS)
