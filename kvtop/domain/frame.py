"""What follows from a Sample: the only thing that crosses from `analysis` to `views`."""

from dataclasses import dataclass, replace

from kvtop.domain.device import Device
from kvtop.domain.figure import NOTHING, UNKNOWN, Figure
from kvtop.domain.headroom import (
    NO_HEADROOM,
    NO_VERDICT,
    NOT_KNOWN_YET,
    Calibration,
    Disagreement,
    Headroom,
    TimeToFull,
    Verdict,
)
from kvtop.domain.launch import Origin
from kvtop.domain.memory import Memory
from kvtop.domain.plan import MemoryPlan
from kvtop.domain.sample import Failure
from kvtop.domain.server import ServerReading


@dataclass(frozen=True, slots=True)
class Split:
    """One server's bytes on one device.

    `driver` is the measured total (unknown where the driver gave none). `memory` has every segment but OUTPUT. When the
    total is known, the segments add up to it: UNATTRIBUTED is the residual and may be negative when computation exceeds
    measurement (pages not touched yet). `kv_used_bytes` is the part of KV_CACHE that holds tokens now; the rest of it
    is reserved. None is unknown.
    """

    device_id: str
    driver: Figure
    memory: Memory
    kv_used_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class KvCacheView:
    """The state of a server's KV cache in tokens. `used_is_upper_bound`: slots may share cells."""

    type_k: str | None
    type_v: str | None
    types_source: str
    capacity_tokens: int | None
    used_tokens: int | None
    used_ratio: float | None
    used_is_upper_bound: bool = False
    bytes_per_token: float | None = None


NO_CACHE = KvCacheView(None, None, "", None, None, None)
"""Nothing is known of a cache."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth a person's attention. `severity` is "info", "warning" or "error"."""

    code: str
    slug: str
    severity: str
    subject: str
    message: str
    evidence: str = ""
    fix: str = ""
    cost: str = ""
    """In bytes or tokens, where it can be computed; "" where it cannot."""


@dataclass(frozen=True, slots=True)
class NotEvaluated:
    """A rule that could not be asked, and which input it lacks. It never counts as passed."""

    code: str
    slug: str
    subject: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing known of a server and where it was learnt; `detail` is the flag, variable, file or path."""

    name: str
    value: str
    origin: Origin
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ServerView:
    """One server, explained. `calibration` is by device, `disagreements` are shown and never hidden."""

    reading: ServerReading
    splits: tuple[Split, ...]
    kv_cache: KvCacheView
    plan: MemoryPlan | None
    plan_note: str
    """Why there is no plan, or what the plan had to assume; "" when there is nothing to say."""
    prompt_tokens_per_second: float | None = None
    generated_tokens_per_second: float | None = None
    findings: tuple[Finding, ...] = ()
    not_evaluated: tuple[NotEvaluated, ...] = ()
    rules_asked: int = 0
    """How many rules could be asked, whatever they answered."""
    suppressed: tuple[tuple[Finding, str], ...] = ()
    """What a person has decided against, with the reason."""
    verdict: Verdict = NO_VERDICT
    headroom: Headroom = NO_HEADROOM
    time_to_full: TimeToFull = NOT_KNOWN_YET
    calibration: tuple[Calibration, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()
    facts: tuple[Fact, ...] = ()
    engine_title: str = ""
    """The engine as its own project spells it ("vLLM"); exports keep `reading.engine`."""
    model_format: str | None = None
    """"gguf" or "safetensors", where a plan says it."""
    first_token_seconds: float | None = None
    """Mean time to first token of the requests of the last minute."""

    @property
    def where_it_lies(self) -> tuple[Split, ...]:
        """Its accelerators; host memory where it is on none."""
        return tuple(it for it in self.splits if it.device_id != "host") or self.splits

    @property
    def held(self) -> Figure:
        """The measured totals of `where_it_lies` together; unknown where one is, with what is known as its least."""
        splits = self.where_it_lies
        return sum((it.driver for it in splits), NOTHING) if splits else UNKNOWN

    @property
    def engine_text(self) -> str:
        """The engine as a person reads it."""
        return self.engine_title or self.reading.engine


@dataclass(frozen=True, slots=True)
class OtherProcess:
    """A process on a device that belongs to no server. None is unknown: another user's process has no name here."""

    pid: int
    name: str | None
    used_bytes: int | None
    contexts: tuple[str, ...] = ()
    """Of "compute", "graphics", "mps"."""


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One device and who is on it. `other_bytes`: processes that are no server kvtop explains."""

    device: Device
    splits: tuple[tuple[str, Split], ...]
    """(server id, split), in the order of `Frame.servers`."""
    other_bytes: int | None
    age_seconds: float
    """Since the driver last answered, in whole seconds: an age that ticks must not make equal frames differ."""
    others: tuple[OtherProcess, ...] = ()
    """Those that the driver lists besides the servers', the largest first."""
    elsewhere_bytes: int | None = 0
    """Of host memory: what servers hold through accelerators that share it, shown in the rows of those. None: not known
    of one of them."""

    @property
    def beside_bytes(self) -> int:
        """What is known to be kept beside the servers' parts: by others, through accelerators, and by the driver."""
        return (self.other_bytes or 0) + (self.elsewhere_bytes or 0) + (self.device.memory.reserved_bytes or 0)

    @property
    def unaccounted_bytes(self) -> int:
        """Used bytes that are in no server's parts and nobody's else: unattributed, never spread around."""
        parts = (figure.value_bytes or 0 for _, split in self.splits for _, figure in split.memory.parts)
        known = sum(max(size, 0) for size in parts) + (self.other_bytes or 0) + (self.elsewhere_bytes or 0)
        return max((self.device.memory.used_bytes or 0) - known, 0)

    @property
    def free_bytes(self) -> int | None:
        """As the driver says, else what is left of the total; None where neither is known."""
        memory = self.device.memory
        if memory.free_bytes is not None or memory.total_bytes is None or memory.used_bytes is None:
            return memory.free_bytes
        return max(memory.total_bytes - memory.used_bytes - (memory.reserved_bytes or 0), 0)


@dataclass(frozen=True, slots=True)
class Frame:
    """One tick, ready to be shown. Equal frames are equal values: views compare before they draw."""

    taken_at: float
    host: str
    kvtop_version: str
    devices: tuple[DeviceView, ...]
    servers: tuple[ServerView, ...]
    failures: tuple[Failure, ...]
    pending: tuple[str, ...] = ()
    is_demo: bool = False
    """The host is invented, and nothing was measured."""

    def with_slices(self, view: DeviceView) -> DeviceView:
        """A card with what is on its slices: one that is cut lists nobody itself."""
        slices = [other for other in self.devices if other.device.parent_id == view.device.id]
        if not slices:
            return view
        others = [view.other_bytes, *(part.other_bytes for part in slices)]
        known = [size for size in others if size is not None]
        splits = tuple(row for part in slices for row in part.splits)
        return replace(view, splits=splits, other_bytes=sum(known) if len(known) == len(others) else None)

    def server(self, server_id: str) -> ServerView | None:
        """The server of that id, or None when it is gone."""
        for view in self.servers:
            if view.reading.id == server_id:
                return view
        return None
