"""Compute APIs: how an engine's kernels reach a card. A driver tells of a card; an engine is built for an API of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from kvtop.domain.figure import NOTHING, Figure

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ComputeApi:
    """One API, with what every program that uses it has in common.

    `variables` are the environment variables that choose and order its devices. Each step is a tuple of names of which
    the first that is set counts, and chooses among what the step before it left. `uuid_prefixes` are what an entry that
    is no number begins with. `runtime_prior` is what one process takes on a card before it allocates anything; None
    where nobody has measured it. `pool_growth` is what it takes besides once prompts are worked on: temporary buffers
    that no plan of an engine holds, and the context where nobody has measured it apart.
    """

    name: str
    title: str
    variables: tuple[tuple[str, ...], ...] = ()
    uuid_prefixes: tuple[str, ...] = ()
    runtime_prior: Figure | None = None
    pool_growth: Figure = NOTHING
    free_caveat: str = ""
    """How its own account of free memory differs from the driver's, where it does."""


CUDA = ComputeApi(
    "cuda",
    "CUDA",
    variables=(("CUDA_VISIBLE_DEVICES",),),
    uuid_prefixes=("GPU-", "MIG-"),
    # A context without any allocation: 107 MiB on an RTX 4060 Ti, 555 MiB on an RTX PRO 6000 (llama.cpp PR 23604).
    runtime_prior=Figure.estimated(300 * _MIB, 100 * _MIB, 600 * _MIB),
    # ggml-cuda.cu, llama.cpp b11434: a prompt's activations as q8_1 or f16 beside a matrix, and a workspace of cuBLAS.
    pool_growth=Figure.estimated(64 * _MIB, 0, 256 * _MIB),
)
ROCM = ComputeApi(
    "rocm",
    "ROCm",
    # The ROCr runtime chooses first, and HIP numbers what it left (ROCm documentation, "GPU isolation techniques").
    variables=(("ROCR_VISIBLE_DEVICES",), ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")),
    uuid_prefixes=("GPU-",),
    # About 0.4 GiB unexplained beside llama-server's own buffers, twice on an RX 7900 XTX (Quartermaster PR 24).
    runtime_prior=Figure.estimated(400 * _MIB, 150 * _MIB, 700 * _MIB),
    pool_growth=Figure.estimated(64 * _MIB, 0, 256 * _MIB),
    free_caveat=(
        "ROCm counts as free what graphics programs hold (hipMemGetInfo): a server that sizes itself by it may want "
        "more than there is here"  # llama.cpp issue 24906: 5,696 for 5,454 MiB
    ),
)
VULKAN = ComputeApi(
    "vulkan",
    "Vulkan",
    variables=(("GGML_VK_VISIBLE_DEVICES",),),
    # Neither measured: the device's own context, and buffers for matrices that are dequantized (ggml-vulkan.cpp,
    # `prealloc_x`, b11434). An RX 5700 XT of 8 GiB ran with 347 MiB left (llama.cpp issue 24166).
    pool_growth=Figure.estimated(64 * _MIB, 0, 320 * _MIB),
)
SYCL = ComputeApi(
    "sycl",
    "SYCL",
    variables=(("ZE_AFFINITY_MASK",),),
    pool_growth=Figure.estimated(128 * _MIB, 0, 512 * _MIB),  # not measured
)
METAL = ComputeApi("metal", "Metal")
UNKNOWN_API = ComputeApi("unknown", "an unknown API")
"""Of a device whose driver no backend of this kvtop describes."""

COMPUTE_APIS: Mapping[str, ComputeApi] = {api.name: api for api in (CUDA, ROCM, METAL, VULKAN, SYCL)}
"""By the word that `--gpu SIZE,backend=` takes."""


def api_named(name: str) -> ComputeApi:
    """The API of that name, or UNKNOWN_API."""
    return COMPUTE_APIS.get(name, UNKNOWN_API)


VISIBILITY_VARIABLES = tuple(
    dict.fromkeys(name for api in COMPUTE_APIS.values() for step in api.variables for name in step)
)
"""Every environment variable that chooses devices, for whoever reads environments."""
