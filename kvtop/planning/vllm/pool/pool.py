"""Blocks, tokens and concurrency of the pool, and the errors with which vLLM refuses a pool that is too small.

Source: vLLM 0.32.0, `vllm/v1/core/kv_cache_utils.py` (`get_kv_cache_configs`, `_check_enough_kv_cache_memory`,
`_auto_fit_max_model_len`, `get_kv_cache_capacity`).
"""

from dataclasses import dataclass, replace

from kvtop.planning.vllm.refusals import StartRefusedError
from kvtop.planning.vllm.specs.groups import Group
from kvtop.planning.vllm.specs.layer_specs import RequestTerms


@dataclass(frozen=True, slots=True)
class Stage:
    """One pipeline stage: its part of every group, and the bytes that each of its ranks gives to the pool."""

    groups: tuple[Group, ...]
    available_bytes: int

    @property
    def bytes_per_block(self) -> int:
        """Bytes of one block on one rank of this stage: all groups overlay each other, the widest one counts."""
        return max((group.bytes_per_block for group in self.groups), default=0)

    def blocks_per_request(self, terms: RequestTerms) -> int:
        """Blocks that one request of full length may hold over all groups."""
        return sum(group.blocks_per_request(terms) for group in self.groups)


@dataclass(frozen=True, slots=True)
class Pool:
    """The pool as vLLM logs it. `num_blocks` includes the one block that is never handed out."""

    num_blocks: int
    tokens: int
    max_concurrency: float
    max_model_len: int
    blocks_per_request: int


def size_pool(
    stages: tuple[Stage, ...],
    terms: RequestTerms,
    *,
    blocks_override: int | None = None,
    fit_length: bool = False,
    keeps_null_block: bool = True,
) -> Pool:
    """The pool that all ranks agree on: the fewest blocks of any.

    `blocks_override` is `--num-gpu-blocks-override`; `fit_length` is `--max-model-len auto`. `keeps_null_block`: one
    block is no part of what a request may take.

    Raises:
        RefusedError: one request of full length does not fit beside the reserved block, in vLLM's words.
    """
    if not any(stage.groups for stage in stages):
        raise StartRefusedError("this model keeps no KV cache: vLLM gives it a pool of one block")
    if blocks_override is not None:
        stages = tuple(replace(stage, available_bytes=blocks_override * stage.bytes_per_block) for stage in stages)
    usable = [stage.available_bytes - keeps_null_block * stage.bytes_per_block for stage in stages]
    if fit_length:
        terms = replace(terms, max_model_len=_fitting_length(stages, usable, terms))
    for stage, usable_bytes in zip(stages, usable, strict=True):
        if stage.bytes_per_block:
            _check(stage, usable_bytes, terms)
    num_blocks = min(stage.available_bytes // stage.bytes_per_block for stage in stages if stage.bytes_per_block)
    if blocks_override is not None:
        num_blocks = blocks_override
    per_request = stages[0].blocks_per_request(terms)
    concurrency = num_blocks / per_request
    return Pool(num_blocks, int(concurrency * terms.max_model_len), concurrency, terms.max_model_len, per_request)


def _needed_bytes(stage: Stage, terms: RequestTerms) -> int:
    return stage.bytes_per_block * stage.blocks_per_request(terms)


def longest_fitting(stage: Stage, usable_bytes: int, terms: RequestTerms) -> int:
    """The longest `max_model_len` up to the present one whose request fits, 0 if not even one token does."""
    if _needed_bytes(stage, replace(terms, max_model_len=1)) > usable_bytes:
        return 0
    best, left, right = 1, 1, terms.max_model_len
    while left <= right:
        middle = (left + right) // 2
        if _needed_bytes(stage, replace(terms, max_model_len=middle)) <= usable_bytes:
            best, left = middle, middle + 1
        else:
            right = middle - 1
    return best


def _fitting_length(stages: tuple[Stage, ...], usable: list[int], terms: RequestTerms) -> int:
    fitting = min(
        (longest_fitting(stage, usable_bytes, terms) for stage, usable_bytes in zip(stages, usable, strict=True)),
        default=0,
    )
    if fitting <= 0:
        raise StartRefusedError(
            "Cannot auto-fit max_model_len: not enough GPU memory available to serve even a single token. "
            "Try increasing `gpu_memory_utilization`."
        )
    return fitting


def _gib(size_bytes: int) -> str:
    return f"{round(size_bytes / 1024**3, 2)}"


def _check(stage: Stage, usable_bytes: int, terms: RequestTerms) -> None:
    if usable_bytes <= 0:
        raise StartRefusedError(
            "No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the "
            "engine (this flag also controls CPU memory reservation on the CPU backend, despite its name). "
            "See https://docs.vllm.ai/en/latest/configuration/conserving_memory/ for more details."
        )
    needed = _needed_bytes(stage, terms)
    if needed <= usable_bytes:
        return
    longest = longest_fitting(stage, usable_bytes, terms)
    hint = f"Based on the available memory, the estimated maximum model length is {longest}. " if longest > 0 else ""
    raise StartRefusedError(
        f"To serve at least one request with the model's max seq len ({terms.max_model_len}), "
        f"({_gib(needed)} GiB KV cache is needed, which is larger than the available KV cache memory "
        f"({_gib(usable_bytes)} GiB). {hint}Try increasing `gpu_memory_utilization` (which also controls CPU memory "
        "on the CPU backend) or decreasing `max_model_len` when initializing the engine. "
        "See https://docs.vllm.ai/en/latest/configuration/conserving_memory/ for more details."
    )
