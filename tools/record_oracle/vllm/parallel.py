"""Groups of ranks without ranks: what vLLM's model classes ask of their place among the others."""

from typing import Any
from unittest import mock

_GROUPS = ("_WORLD", "_INNER_DP_WORLD", "_TP", "_PP", "_DP", "_EP", "_DCP", "_PCP", "_EPLB")


def _group(size: int, rank: int) -> Any:  # noqa: ANN401
    group = mock.MagicMock(name=f"rank {rank} of {size}")
    group.world_size = size
    group.rank = group.rank_in_group = group.local_rank = rank
    group.ranks = list(range(size))
    group.first_rank, group.last_rank = 0, size - 1
    group.is_first_rank, group.is_last_rank = rank == 0, rank == size - 1
    group.all_reduce = group.all_gather = lambda tensor, *_, **__: tensor
    return group


def be_rank(parallel_config: Any, stage: int) -> None:  # noqa: ANN401
    """Make this process the first rank of a pipeline stage."""
    from vllm.distributed import parallel_state  # noqa: PLC0415

    tensor, stages = parallel_config.tensor_parallel_size, parallel_config.pipeline_parallel_size
    data = getattr(parallel_config, "data_parallel_size", 1)
    sizes = {
        "_WORLD": (tensor * stages, stage * tensor),
        "_INNER_DP_WORLD": (tensor * stages, stage * tensor),
        "_TP": (tensor, 0),
        "_PP": (stages, stage),
        "_DP": (data, 0),
        "_EP": (tensor * data, 0),
        "_DCP": (getattr(parallel_config, "decode_context_parallel_size", 1), 0),
        "_PCP": (getattr(parallel_config, "prefill_context_parallel_size", 1), 0),
        "_EPLB": (tensor * data, 0),
    }
    for name in _GROUPS:
        if hasattr(parallel_state, name):
            setattr(parallel_state, name, _group(*sizes[name]))
