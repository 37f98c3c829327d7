"""A model file made ready for planning: what depends on the file alone is worked out once."""

from dataclasses import dataclass

from kvtop.domain.model_file import GgufHeader
from kvtop.planning.llamacpp.hparams import HParams
from kvtop.planning.llamacpp.loading import load_hparams
from kvtop.planning.llamacpp.weights import WeightSet, weight_set


@dataclass(frozen=True, slots=True, eq=False)
class PreparedModel:
    """Hyperparameters and sorted tensors of one file. Compared by identity, so that results can be remembered by it."""

    header: GgufHeader
    hparams: HParams
    weights: WeightSet

    @property
    def name(self) -> str:
        """What the file calls itself, or its path."""
        name = self.header.metadata.get("general.name")
        return name if isinstance(name, str) and name else self.header.path


def prepare(header: GgufHeader) -> PreparedModel:
    """Read a header into hyperparameters and tensors. Raises UnknownArchitectureError where there is no exact rule."""
    hparams = load_hparams(header)
    return PreparedModel(header, hparams, weight_set(header, hparams))
