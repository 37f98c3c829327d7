"""The state of a fit that moves layers: what is accepted so far, and the trial allocations."""

from collections.abc import Callable
from dataclasses import dataclass, field

from kvtop.planning.llamacpp.fit.replay.answer import Tried
from kvtop.planning.llamacpp.fit.replay.shares import Share, placed
from kvtop.planning.llamacpp.fit.replay.trial import FitRequest, Parameters, TrialMemory


@dataclass(slots=True)
class LayerFilling:
    """Layers by device that were accepted, and the bytes used there. `targets`: the most that each device may hold."""

    request: FitRequest
    parameters: Parameters
    targets: tuple[int, ...]
    measure: Callable[[Parameters], TrialMemory]
    shares: tuple[Share, ...] = ()
    used: tuple[int, ...] = ()
    tried: list[Tried] = field(default_factory=list)

    @property
    def devices(self) -> int:
        """How many devices there are."""
        return len(self.request.devices)

    @property
    def n_layer(self) -> int:
        """Blocks, without the output layer."""
        return self.request.model.n_layer

    @property
    def is_mixture(self) -> bool:
        """Whether layers may lack their experts."""
        return self.request.model.n_expert > 0

    def try_out(self, shares: tuple[Share, ...]) -> tuple[int, ...]:
        """Bytes used by device with these shares."""
        used = self.measure(placed(self.parameters, shares, self.n_layer)).used_bytes
        self.tried.append(Tried(shares, used))
        return used

    def accept(self, shares: tuple[Share, ...], used: tuple[int, ...]) -> None:
        """Go on from these shares."""
        self.shares, self.used = shares, used

    def start(self) -> None:
        """No layer anywhere."""
        nothing = tuple(Share() for _ in self.request.devices)
        self.accept(nothing, self.try_out(nothing))
