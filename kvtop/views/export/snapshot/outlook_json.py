"""What a server's future looks like, what was calibrated, and where every fact comes from: a part of the snapshot."""

from typing import TypedDict

from kvtop.domain.frame import ServerView


class VerdictJson(TypedDict):
    """The state of a server in a word or two; `concern` is "calm", "watch" or "bad".

    `seconds` of a countdown that the words end in, else null.
    """

    words: str
    concern: str
    seconds: float | None


class DeviceRoomJson(TypedDict):
    """Free memory of a device that the server is on; null is unknown."""

    device: str
    free_bytes: int | None


class HeadroomJson(TypedDict):
    """Room for growth: tokens under the server's own limits, and free memory by device.

    `more_requests` of `request_tokens` each could begin now and have their room; null is unknown.
    """

    cache_tokens_left: int | None
    devices: list[DeviceRoomJson]
    more_requests: int | None
    request_tokens: int | None


class TimeToFullJson(TypedDict):
    """When the first limit is met. `state` is "steady" (never, as things are), "growing", "bounded" (it grows and
    will never be full), "full" or "unknown".

    `cause` names the limit: a slot, the pool, or a device. `ground` of a time: "answers" (running requests go on),
    "peaks" (the highest use keeps rising), "memory", or "". `addable_tokens`: the most that running requests can still
    add. `peak_ratio`: the highest use within `peak_seconds`.
    """

    state: str
    seconds: float | None
    cause: str
    tokens_left: int | None
    tokens_per_second: float | None
    bytes_left: int | None
    ground: str
    addable_tokens: int | None
    peak_ratio: float | None
    peak_seconds: float


class CalibrationJson(TypedDict):
    """Measured bytes on a device beyond everything computed: what a changed plan is to be added to."""

    device: str
    beyond_bytes: int


class DisagreementJson(TypedDict):
    """Two sources that should say the same. `segment` is a segment's name or "kv_cache_tokens"; `device` may be ""."""

    segment: str
    device: str
    computed: int
    reported: int
    tolerance: int
    source: str


class FactJson(TypedDict):
    """One fact and where it was learnt.

    `origin` is "argv", "environment", "file", "endpoint", "log", "driver", "default" or "assumed".
    """

    name: str
    value: str
    origin: str
    detail: str


class OutlookJson(TypedDict):
    """The part of a server that follows from more than one reading."""

    verdict: VerdictJson
    headroom: HeadroomJson
    time_to_full: TimeToFullJson
    prompt_tokens_per_second: float | None
    generated_tokens_per_second: float | None
    first_token_seconds: float | None
    calibration: list[CalibrationJson]
    disagreements: list[DisagreementJson]
    facts: list[FactJson]


def outlook(view: ServerView) -> OutlookJson:
    """The part of one server."""
    filling = view.time_to_full
    return OutlookJson(
        verdict=VerdictJson(words=view.verdict.words, concern=view.verdict.concern.value, seconds=view.verdict.seconds),
        headroom=HeadroomJson(
            cache_tokens_left=view.headroom.cache_tokens_left,
            devices=[DeviceRoomJson(device=name, free_bytes=free) for name, free in view.headroom.device_free_bytes],
            more_requests=view.headroom.more_requests,
            request_tokens=view.headroom.request_tokens,
        ),
        time_to_full=TimeToFullJson(
            state=filling.state.value,
            seconds=filling.seconds,
            cause=filling.cause,
            tokens_left=filling.tokens_left,
            tokens_per_second=filling.tokens_per_second,
            bytes_left=filling.bytes_left,
            ground=filling.ground.value,
            addable_tokens=filling.addable_tokens,
            peak_ratio=filling.peak_ratio,
            peak_seconds=filling.peak_seconds,
        ),
        prompt_tokens_per_second=view.prompt_tokens_per_second,
        generated_tokens_per_second=view.generated_tokens_per_second,
        first_token_seconds=view.first_token_seconds,
        calibration=[CalibrationJson(device=it.device_id, beyond_bytes=it.beyond_bytes) for it in view.calibration],
        disagreements=[
            DisagreementJson(
                segment=it.segment,
                device=it.device_id,
                computed=it.computed,
                reported=it.reported,
                tolerance=it.tolerance,
                source=it.source,
            )
            for it in view.disagreements
        ],
        facts=[FactJson(name=it.name, value=it.value, origin=it.origin.value, detail=it.detail) for it in view.facts],
    )
