"""What is seen of a running server from outside, by the plan's names of devices: evidence of where its model lies."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PlacementEvidence:
    """`held_bytes` is what drivers report of the server's processes; a device that says nothing is absent.

    `weights_bytes` is what the engine's own log says of each device, rounded by `rounding_bytes`.
    """

    held_bytes: Mapping[str, int] = field(default_factory=dict)
    weights_bytes: Mapping[str, int] = field(default_factory=dict)
    rounding_bytes: int = 0


@dataclass(frozen=True, slots=True)
class PlacedOptions:
    """Options that say where a running server's model lies, and in words how that is known; () where as typed.

    `bounds` are the least and the most on its devices that what is seen leaves open, () where it is known exactly.
    """

    options: tuple[tuple[str, str], ...] = ()
    words: str = ""
    bounds: tuple[tuple[tuple[str, str], ...], ...] = ()
