"""A stand-in CUDA platform for vLLM's planner. Imported by the engine's interpreter, before anything of vLLM.

vLLM decides about its cache in Python: the model class, the backend of each layer, pages, groups, blocks. Kernels are
only asked whether they exist. Here they do: modules of compiled code are empty ones, and the platform is vLLM's own
CUDA platform with the facts of a card that is not there.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
from typing import Any
from unittest import mock

GIB = 2**30
CARDS = {
    "cc8.0": ((8, 0), "NVIDIA A100-SXM4-80GB"),
    "cc8.9": ((8, 9), "NVIDIA L40S"),
    "cc9.0": ((9, 0), "NVIDIA H100 80GB HBM3"),
    "cc10.0": ((10, 0), "NVIDIA B200"),
    "cc12.0": ((12, 0), "NVIDIA RTX PRO 6000 Blackwell"),
}
"""A fixture's word for a card: its compute capability, and the name that vLLM looks at. All have 80 GiB."""

_COMPILED = (
    "vllm._C",
    "vllm._moe_C",
    "vllm._qutlass_C",
    "vllm._flashmla",
    "vllm.vllm_flash_attn._vllm_fa",
    "vllm.cumem",
    "vllm.third_party.flashmla.flash_mla_interface",
)
_PACKAGES = ("flashinfer", "deep_gemm", "cutlass", "quack", "tilelang")

absent = {"flashinfer.fused_moe"}
"""What is not installed: vLLM's own kernels of experts pad weights otherwise than FlashInfer's. A case that was
recorded with those empties this set."""


class _Anything(types.ModuleType):
    """A module that has whatever is asked of it."""

    __path__: list[str] = []  # noqa: RUF012  what makes it a package
    __version__ = "99.0"

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        if name.startswith("__"):
            raise AttributeError(name)
        value = mock.MagicMock(name=f"{self.__name__}.{name}")
        setattr(self, name, value)
        return value


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:  # noqa: ANN401, ARG002
        if name in absent:
            return None
        if name.startswith(_COMPILED) or name.split(".", 1)[0] in _PACKAGES:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:  # noqa: ANN401
        return _Anything(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing: it has everything already."""


def _operators_exist(torch: Any, capability: int) -> None:  # noqa: ANN401
    """Compiled operators are there when asked for, and say what they support; none is ever run."""
    namespace = torch._ops._OpNamespace
    before = namespace.__getattr__
    least = {"block_fp8": 90, "fp4": 100, "fp8": 89}

    def found(self: Any, name: str) -> Any:  # noqa: ANN401
        try:
            return before(self, name)
        except AttributeError:
            if name.startswith("__") or not self.name.startswith(("_C", "_moe_C", "_vllm_fa", "_flashmla", "_qutlass")):
                raise
            needs = next((least[word] for word in least if word in name), 0)
            return mock.MagicMock(name=name, return_value=capability >= needs)

    def register_fake(operator: Any, function: Any = None, /, **options: Any) -> Any:  # noqa: ANN401
        if function is None:
            return lambda one: register_fake(operator, one, **options)
        try:
            return registered(operator, function, **options)
        except RuntimeError:  # no such operator, as for all of the above
            return function

    namespace.__getattr__ = found
    registered = torch.library.register_fake
    torch.library.register_fake = register_fake


def _nothing_on_the_card(torch: Any) -> None:  # noqa: ANN401
    """Tensors that are asked for on the card by name have a shape and no memory."""

    class OnMeta(torch.overrides.TorchFunctionMode):  # type: ignore[misc]  # torch is not installed where this is checked
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
            options = dict(kwargs or {})
            if str(options.get("device", "")).startswith("cuda"):
                options["device"] = "meta"
            return function(*args, **options)

    OnMeta().__enter__()


def _triton_is_there() -> None:
    """Its kernels are written down when a module is imported; for that no driver is needed."""
    import triton  # noqa: PLC0415
    import triton.language as tl  # noqa: PLC0415
    from triton.runtime import driver  # noqa: PLC0415
    from vllm import triton_utils  # noqa: PLC0415

    driver.set_active(mock.MagicMock())
    triton_utils.triton, triton_utils.tl = triton, tl
    triton_utils.HAS_TRITON = triton_utils.importing.HAS_TRITON = True


def stand_in(card: str) -> None:
    """Let vLLM find that card, once in a process and before its first import."""
    (major, minor), name = CARDS[card]
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ["VLLM_HAS_FLASHINFER_CUBIN"] = "1"
    sys.meta_path.insert(0, _Finder())
    import torch  # noqa: PLC0415
    import torch.overrides  # noqa: PLC0415

    _operators_exist(torch, major * 10 + minor)
    from vllm import platforms  # noqa: PLC0415
    from vllm.platforms import cuda  # noqa: PLC0415
    from vllm.platforms.interface import DeviceCapability  # noqa: PLC0415

    class Card(cuda.NonNvmlCudaPlatform):  # type: ignore[misc]  # vLLM is not installed where this is checked
        @classmethod
        def get_device_capability(cls, device_id: int = 0) -> Any:  # noqa: ANN401, ARG003
            return DeviceCapability(major=major, minor=minor)

        @classmethod
        def get_device_name(cls, device_id: int = 0) -> str:  # noqa: ARG003
            return name

        @classmethod
        def get_device_total_memory(cls, device_id: int = 0) -> int:  # noqa: ARG003
            return 80 * GIB

        @classmethod
        def device_count(cls) -> int:
            return 64

        @classmethod
        def is_fully_connected(cls, *_: Any) -> bool:  # noqa: ANN401
            return True

        @classmethod
        def num_compute_units(cls, device_id: int = 0) -> int:  # noqa: ARG003
            return 132

        @classmethod
        def is_pin_memory_available(cls) -> bool:
            return False

    platforms.current_platform = Card()
    _triton_is_there()
    _nothing_on_the_card(torch)
    torch.cuda.Stream = torch.cuda.Event = mock.MagicMock
    torch.version.cuda = "13.0"
    torch.cuda.get_device_capability = lambda *_: (major, minor)
    torch.cuda.get_device_properties = lambda *_: mock.MagicMock(
        major=major, minor=minor, total_memory=80 * GIB, multi_processor_count=132
    )
    torch.cuda.is_available = lambda: True
    torch.cuda.device_count = lambda: 64
    torch.cuda.current_device = lambda: torch.device("meta")  # where some layers put their parameters by name
    torch.accelerator.current_device_index = lambda: 0
    torch.accelerator.is_available = lambda: True
