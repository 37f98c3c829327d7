"""What an engine reads to generate one token of one sequence: the input of the estimate of decode speed."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DecodeReads:
    """Bytes by the plan's names of devices ("gpu0", "host").

    `weights` counts every matrix once, of experts only as many as a token uses, and of embeddings one row; `cache` the
    keys, values and states of one sequence of `at_tokens`. `blocks` counts layers by where they run, `mixtures` those
    of them whose experts run there too. `crossings` counts how often a token's activations change the device, and
    `crossing_bytes` what is carried each time. Where `ranks` share every layer, the figures are those of one rank.
    """

    at_tokens: int
    weights: Mapping[str, int]
    cache: Mapping[str, int]
    blocks: Mapping[str, int] = field(default_factory=dict)
    mixtures: Mapping[str, int] = field(default_factory=dict)
    crossings: int = 0
    crossing_bytes: int = 0
    ranks: int = 1
