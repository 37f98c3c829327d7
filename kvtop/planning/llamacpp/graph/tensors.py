"""What a graph needs of a file: asking for a weight or an input that the file rules out is the file's fault."""

from typing import TypeVar

from kvtop.domain.plan import MalformedModelError
from kvtop.planning.llamacpp.graph.graph import Resident

_Input = TypeVar("_Input")


class Tensors(dict[str, Resident]):
    """Weights by name without their prefix and `.weight`. `[name]` raises MalformedModelError where there is none."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def __missing__(self, name: str) -> Resident:
        raise MalformedModelError(f"the file has no tensor {self._prefix}{name}, which its architecture needs")


def agreed(found: _Input | None, block: int, what: str) -> _Input:
    """An input of the graph. Raises MalformedModelError where tensors ask for one that the metadata rule out."""
    if found is None:
        raise MalformedModelError(f"block {block} has tensors that need {what}, and by its metadata the model has none")
    return found
