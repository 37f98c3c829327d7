"""Numbers that vLLM's configuration classes do not take, in pydantic's words.

Source: the `Field(ge=…, gt=…, le=…)` of vLLM 0.32.0, `config/cache.py`, `config/parallel.py`, `config/scheduler.py`.
"""

from collections.abc import Callable

from kvtop.planning.vllm.refusals import StartRefusedError

_AT_LEAST_ONE = {
    "tensor-parallel-size": "ParallelConfig",
    "pipeline-parallel-size": "ParallelConfig",
    "decode-context-parallel-size": "ParallelConfig",
    "data-parallel-size": "ParallelConfig",
    "max-num-batched-tokens": "SchedulerConfig",
    "max-num-seqs": "SchedulerConfig",
}


def refuse_out_of_bounds(whole: Callable[[str], int | None], utilization: float) -> None:
    """`whole` gives an option's number, None where it is not given; `utilization` is a share of the card.

    Raises:
        RefusedError: a number outside what its configuration class takes.
    """
    for name, owner in _AT_LEAST_ONE.items():
        number = whole(name)
        if number is not None and number < 1:
            raise _refused(owner, name, "greater than or equal to 1", "greater_than_equal", number)
    block_size = whole("block-size")
    if block_size is not None and block_size <= 0:
        raise _refused("CacheConfig", "block-size", "greater than 0", "greater_than", block_size)
    if not utilization > 0:  # nan too
        raise _refused("CacheConfig", "gpu-memory-utilization", "greater than 0", "greater_than", utilization)
    if utilization > 1:
        raise _refused(
            "CacheConfig", "gpu-memory-utilization", "less than or equal to 1", "less_than_equal", utilization
        )


def _refused(owner: str, option: str, bound: str, kind: str, value: float) -> StartRefusedError:
    field = option.replace("-", "_")
    given = f"[type={kind}, input_value={value}, input_type={type(value).__name__}]"
    return StartRefusedError(f"1 validation error for {owner}: {field}: Input should be {bound} {given}")
