"""What a version of vLLM measures when it profiles itself, as numbers that public logs gave.

Calibration: `tests/fixtures/vllm_pools` holds the logs, `python -m tests.bench.vllm_commands --logs` the errors.
"""

from dataclasses import dataclass

Version = tuple[int, ...]
NATIVE_SAMPLER_LAST: Version = (0, 11)
"""To that one the dummy run of the sampler sorts all logits in PyTorch."""
GRAPHS_FIRST: Version = (0, 21)
"""From that one on the memory of CUDA graphs is taken off the pool (VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS)."""
SECOND_RUNNER_FIRST: Version = (0, 29)
"""From that one on the second model runner is the default, whose dummy run samples without sorting."""


@dataclass(frozen=True, slots=True)
class ProfileRules:
    """Copies of the logits in 32 bits that the sampler holds at its peak, (likely, least, most), and switches.

    `counts_graphs`: CUDA graphs are part of what is taken. `keeps_counts`: an array of 32-bit counts for every
    sequence and token of the vocabulary stays allocated (`v1/worker/gpu/sample/penalties.py`).
    """

    sampler_copies: tuple[float, float, float]
    counts_graphs: bool
    keeps_counts: bool
    multimodal_copies: tuple[float, float, float]
    """The same of a model with an encoder: one public log has less than half (llm-d, Mistral Small 3.2)."""
    default_utilization: float


_NATIVE = (9.65, 8.6, 10.4)
_NATIVE_MULTIMODAL = (6.8, 4.0, 10.0)
_MIXED = (5.5, 3.5, 9.8)
_SECOND = (0.8, 0.5, 1.6)
_UTILIZATION, _FORMER_UTILIZATION = 0.92, 0.9
_UTILIZATION_FIRST: Version = (0, 20)
"""From that one on `--gpu-memory-utilization` is 0.92 where nothing is said; it was 0.9 to 0.17 at least."""


def profile_rules(version: Version | None) -> ProfileRules:
    """The rules of a version, of the newest where it is not known."""
    if version is None or version[:2] >= SECOND_RUNNER_FIRST:
        return ProfileRules(
            _SECOND,
            counts_graphs=True,
            keeps_counts=True,
            multimodal_copies=_SECOND,
            default_utilization=_UTILIZATION,
        )
    is_native = version[:2] <= NATIVE_SAMPLER_LAST
    return ProfileRules(
        _NATIVE if is_native else _MIXED,
        counts_graphs=version[:2] >= GRAPHS_FIRST,
        keeps_counts=False,
        multimodal_copies=_NATIVE_MULTIMODAL if is_native else _MIXED,
        default_utilization=_UTILIZATION if version[:2] >= _UTILIZATION_FIRST else _FORMER_UTILIZATION,
    )
