"""What `kvtop snapshot --json` prints, schema `kvtop.snapshot/1`. Within a version names are only added to."""

from typing import TypedDict

from kvtop.views.export.snapshot.engine_json import EngineJson
from kvtop.views.export.snapshot.outlook_json import OutlookJson

SCHEMA = "kvtop.snapshot/1"


class MemoryJson(TypedDict):
    """Bytes of a device as its driver reports them; null is unknown."""

    total_bytes: int | None
    used_bytes: int | None
    free_bytes: int | None
    reserved_bytes: int | None


class DeviceJson(TypedDict):
    """One device. `state` is "ok", "stale", "lost" or "error"; `age_seconds` is how old the reading is.

    `backend` is the driver, `compute_api` what engines usually use on it. `unified_memory`: it shares the host's.
    `lists_all_processes` false: only processes that kvtop may look at are known, so others may hold some of it.
    """

    id: str
    name: str
    backend: str
    uuid: str | None
    parent_id: str | None
    state: str
    note: str
    age_seconds: float
    memory: MemoryJson
    other_bytes: int | None
    utilization_ratio: float | None
    temperature_celsius: float | None
    power_watts: float | None
    compute_api: str
    pci_address: str | None
    unified_memory: bool
    lists_all_processes: bool


class SegmentJson(TypedDict):
    """One segment. `low_bytes` and `high_bytes` are set when `basis` is "estimated", and may bound an "unknown" one."""

    bytes: int | None
    basis: str
    low_bytes: int | None
    high_bytes: int | None
    source: str


class CacheSegmentJson(SegmentJson):
    """The KV cache: `used_bytes` of `bytes` hold tokens now."""

    used_bytes: int | None


class SegmentsJson(TypedDict):
    """All segments of a split; they add up to `driver_bytes` where the driver gave one."""

    weights: SegmentJson
    kv_cache: CacheSegmentJson
    recurrent_state: SegmentJson
    compute: SegmentJson
    runtime: SegmentJson
    unattributed: SegmentJson


class SplitJson(TypedDict):
    """A server's memory on one device."""

    device: str
    driver_bytes: int | None
    driver_basis: str
    segments: SegmentsJson


class SlotJson(TypedDict):
    """A slot and what it holds."""

    id: int
    context_tokens: int | None
    used_tokens: int | None
    is_processing: bool | None


class ModelJson(TypedDict):
    """What the endpoint and the model file say."""

    name: str | None
    path: str | None
    architecture: str | None
    quantization: str | None
    parameters: int | None
    tensor_bytes: int | None
    trained_context_tokens: int | None


class OptionJson(TypedDict):
    """One effective launch option and where it was learnt."""

    value: str
    origin: str
    detail: str


class CacheJson(TypedDict):
    """The KV cache in tokens."""

    type_k: str | None
    type_v: str | None
    types_source: str
    capacity_tokens: int | None
    used_tokens: int | None
    used_ratio: float | None
    used_is_upper_bound: bool
    bytes_per_token: float | None


class FindingJson(TypedDict):
    """One finding."""

    code: str
    slug: str
    severity: str
    subject: str
    message: str
    evidence: str
    cost: str
    fix: str


class ServerJson(OutlookJson, EngineJson):
    """One server, explained."""

    id: str
    engine: str
    version: str | None
    url: str | None
    state: str
    hint: str
    pids: list[int]
    is_remote: bool
    model: ModelJson
    launch: dict[str, OptionJson] | None
    kv_cache: CacheJson
    slots: list[SlotJson] | None
    memory: list[SplitJson]
    plan_note: str
    findings: list[FindingJson]


class FailureJson(TypedDict):
    """Something that could not be read, and the one thing to do about it."""

    source: str
    message: str
    remedy: str


class SnapshotJson(TypedDict):
    """One frame of kvtop."""

    schema: str
    taken_at: str
    kvtop_version: str
    host: str
    devices: list[DeviceJson]
    servers: list[ServerJson]
    failures: list[FailureJson]
    pending: list[str]
    """What had not answered in time: an empty list of servers is no proof while "processes" is among them."""
    is_demo: bool
    """The host is invented (`--demo`); nothing was measured."""
