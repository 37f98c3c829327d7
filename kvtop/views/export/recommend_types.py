"""What `kvtop recommend --json` prints, schema `kvtop.recommend/1`. Within a version names are only added to."""

from typing import TypedDict

SCHEMA = "kvtop.recommend/1"


class WishJson(TypedDict):
    """What was asked for; null is "as the command has it"."""

    context_tokens: int | None
    users: int | None
    prefer: str


class NeededBytesJson(TypedDict):
    """Bytes, and the range that is meant to hold the truth in 95 % of cases."""

    value: int
    low: int
    high: int


class RoomJson(TypedDict):
    """One device. `is_whole` is false where a part of its share is unknown: then `needed_bytes` is the least."""

    name: str
    needed_bytes: NeededBytesJson
    is_whole: bool
    room_bytes: int | None


class FigureJson(TypedDict):
    """One measurement with its source; `value` null where only words (`text`) were published."""

    model: str
    cache_types: list[str]
    rotation: str
    metric: str
    value: float | None
    text: str | None
    unit: str
    source: str
    url: str | None
    year: int
    tier: str
    contradicted: str | None


class EvidenceJson(TypedDict):
    """What is known of a pair of cache types: measured on this model, or on the nearest (`match`)."""

    match: str
    model: str | None
    measurements: list[FigureJson]
    conflict: str | None
    claims: list[FigureJson]


class SpeedJson(TypedDict):
    """What the cache type does to speed."""

    verdict: str
    note: str | None


class SpanJson(TypedDict):
    """A figure and its range."""

    value: float
    low: float
    high: float


class MemoryReadJson(TypedDict):
    """What one token reads of one memory, and how fast that is, with the source of that figure."""

    name: str
    read_bytes: int
    bytes_per_second: SpanJson
    source: str


class DecodeJson(TypedDict):
    """An estimate of decode speed for one sequence of `at_tokens`; `basis` says how it follows. Never measured."""

    at_tokens: int
    tokens_per_second: SpanJson
    reads: list[MemoryReadJson]
    basis: str


class RecommendationJson(TypedDict):
    """One configuration that fits. `changes` are its options beside the command's; null is an option that goes.

    `placement` null: everything lies where the engine puts it when there is room. `decode` is empty where there is no
    estimate, and `decode_note` says why.
    """

    cache: str
    fit: str
    sequence_tokens: int | None
    sequences: float | None
    total_bytes: int | None
    devices: list[RoomJson]
    quality: EvidenceJson | None
    speed: SpeedJson
    why: str
    placement: str | None
    decode: list[DecodeJson]
    decode_note: str | None
    changes: dict[str, str | None]
    command: str


class RecommendJson(TypedDict):
    """Configurations that fit, the best first, and what was left out and why."""

    schema: str
    engine: str
    model: str
    wish: WishJson
    recommendations: list[RecommendationJson]
    left_out: list[str]
    notes: list[str]
