"""The weights of each pipeline stage's ranks, from the tensors that lie in the checkpoint."""

from dataclasses import dataclass

from kvtop.domain.model_file import Checkpoint
from kvtop.planning.vllm.config_view import ConfigView


@dataclass(frozen=True, slots=True)
class StageWeights:
    """Bytes on one rank of each pipeline stage, None where they are not known; `notes` say why."""

    per_stage: tuple[int | None, ...]
    notes: tuple[str, ...] = ()


def stage_weights(checkpoint: Checkpoint, config: ConfigView, tp_size: int, pp_size: int) -> StageWeights:
    """The weights that vLLM loads on one rank of each stage."""
    _ = config
    if not checkpoint.tensors:
        return StageWeights((None,) * pp_size, ("no weights lie beside config.json: their bytes are not known",))
    if tp_size == 1 and pp_size == 1:
        return StageWeights((sum(tensor.size_bytes for tensor in checkpoint.tensors),))
    return StageWeights((None,) * pp_size, ("the split of the weights is not known",))
