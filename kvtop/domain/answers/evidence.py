"""What has been measured of quantized KV caches, as values that carry their provenance."""

from dataclasses import dataclass
from enum import StrEnum


class Tier(StrEnum):
    """Who measured, from the one that counts most here to the one that counts least."""

    OWN = "own"
    """Measured here, by `kvtop quality --run`, on this person's own text."""
    PRIMARY = "primary"
    PROJECT = "project"
    """Measured by kvtop's makers, on a tiny model: good for the order of types, not for the amount."""
    VIA = "via"
    COMMUNITY = "community"
    UNVERIFIED = "unverified"
    """A claim without a log."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure. `value` None: an observation in words (`text`). `rotation`: "on", "off" or "unknown".

    `contradicted` is "" or what speaks against it; such a figure is never shown without it.
    """

    model: str
    architectures: tuple[str, ...]
    type_k: str
    type_v: str
    rotation: str
    metric: str
    value: float | None
    text: str
    unit: str
    baseline: str
    source: str
    url: str
    year: int
    tier: Tier
    note: str = ""
    contradicted: str = ""
    standard_error: float | None = None
    """Of `value`, in its unit; None where the source gives none."""

    @property
    def is_telling(self) -> bool:
        """Whether it says how far the answers move; perplexity and scores hide what evens out."""
        return "kl_divergence" in self.metric or self.metric == "same_top_token"

    @property
    def is_score(self) -> bool:
        """Whether it says something only beside `baseline`."""
        return self.metric in {"aime25", "aime_correct", "gsm8k", "gpqa_diamond"}


class Match(StrEnum):
    """How near the measured model is to the one that was asked about."""

    THIS_MODEL = "this model"
    SAME_FAMILY = "nearest measured model"
    NONE = "no measurement for this model"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one pair of cache types for one model.

    `measurements` are of `model` (the measured one, "" with Match.NONE), the best metric and tier first. `elsewhere`
    are figures of other models for the same pair, for scale only. `conflict` is "" or how sources differ (in sign, or
    by more than three times). `claims` are unverified figures, each with what contradicts it.
    """

    type_k: str
    type_v: str
    match: Match
    model: str
    measurements: tuple[Measurement, ...]
    elsewhere: tuple[Measurement, ...]
    claims: tuple[Measurement, ...]
    conflict: str = ""
