"""A model as a store of models describes it: files by their part, and the parameters it is run with."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StoredModel:
    """`parameters` are as JSON gave them (num_ctx, num_gpu …); `family` is the word of its configuration."""

    name: str
    model_path: str
    projector_path: str | None = None
    draft_path: str | None = None
    adapter_paths: tuple[str, ...] = ()
    parameters: Mapping[str, object] = field(default_factory=dict)
    family: str = ""

    def whole(self, parameter: str) -> int | None:
        """A parameter that is a whole number; None where it is not set, or is something else."""
        value = self.parameters.get(parameter)
        return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31 else None
