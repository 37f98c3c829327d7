"""A server as read at one instant: one running engine, maybe many processes."""

from dataclasses import dataclass
from enum import StrEnum

from kvtop.domain.engine_report import HostedModel, PoolReport, Rank, RankReport
from kvtop.domain.launch import LaunchOption, LaunchOptions


class ServerState(StrEnum):
    """What the endpoint said of itself."""

    READY = "ready"
    LOADING = "loading"
    SLEEPING = "sleeping"
    LOCKED = "locked"
    """The endpoint wants a key that kvtop was not given."""
    UNREACHABLE = "unreachable"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot of a llama.cpp server. `used_tokens` counts tokens held in its cache, prompt and generated alike."""

    id: int
    context_tokens: int | None
    used_tokens: int | None
    is_processing: bool | None
    decoded_tokens: int | None = None
    """Tokens generated for the current request; falls back to 0 when the next one starts."""
    remaining_tokens: int | None = None
    """What its own limit lets the current request still generate; None: it set no limit, or none is said."""
    task_id: int | None = None
    """The request that the slot works on, or the last one: a number that the server never uses twice."""
    prompt_read_tokens: int | None = None
    """Of the current request's prompt, what has been computed; what the cache already had is not in it."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Monotonic counters and gauges that any scraper may read without disturbing another; None is not exported."""

    prompt_tokens_total: float | None = None
    generated_tokens_total: float | None = None
    prompt_seconds_total: float | None = None
    generated_seconds_total: float | None = None
    requests_processing: float | None = None
    requests_waiting: float | None = None
    sequence_tokens_max: float | None = None
    requests_waiting_for_memory: float | None = None
    """Of those waiting, the ones that the KV pool has no room for."""
    preemptions_total: float | None = None
    """Requests thrown out of the KV pool to be computed again; vLLM counts one when it produces output again."""
    prefix_query_tokens_total: float | None = None
    prefix_hit_tokens_total: float | None = None
    ended_requests_total: float | None = None
    """Requests whose length is known because they ended."""
    ended_generated_tokens_total: float | None = None
    """What those generated."""
    prompt_tokens_per_second: float | None = None
    """As a metrics server computes it from every scrape; None where kvtop takes the difference of two readings."""
    generated_tokens_per_second: float | None = None
    first_token_seconds_total: float | None = None
    """Time to first token, summed over the requests that got one."""
    first_token_requests_total: float | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the endpoint and the command line say of the model; the file itself is in `Sample.models`."""

    name: str | None = None
    path: str | None = None
    """As the server's own mount namespace sees it."""
    quantization: str | None = None
    parameters: int | None = None
    tensor_bytes: int | None = None
    trained_context_tokens: int | None = None
    expires_at: float | None = None
    """Unix time in seconds at which the engine will unload it; None: unknown, or it never does."""


@dataclass(frozen=True, slots=True)
class ServerReading:
    """Everything read of one server in one tick.

    `id` is stable while the server lives ("127.0.0.1:8080", or "pid 4711" without an endpoint).
    `hint` is the one thing to do when `state` is not READY. `slots` None: not asked or not offered.
    `sequence_limit_tokens` is the longest sequence a request may have (vLLM: max_model_len),
    `concurrent_sequences_limit` how many run at once. `pools` has one entry an engine, `memory_reports` what the engine
    says of its bytes, `ranks` its processes by role, `hosted` the models of a server that holds several. `sleep_level`
    1: weights are in host memory and the KV pool is dropped; 2: both are dropped; 0: awake; None: not said.
    `model_key` names the parsed model file in `Sample.models`, None when it could not be read (see `failures`).
    `draft_key` does so for llama.cpp's draft model; None too where there is none.
    `is_remote`: no process of this host belongs to it, so memory is computed and never measured.
    """

    id: str
    engine: str
    state: ServerState
    version: str | None = None
    url: str | None = None
    hint: str = ""
    pids: tuple[int, ...] = ()
    model: ModelFacts = ModelFacts()
    launch: LaunchOptions | None = None
    stated: tuple[LaunchOption, ...] = ()
    """Options that the endpoint itself states; never all of them."""
    slot_context_tokens: int | None = None
    slot_count: int | None = None
    slots: tuple[Slot, ...] | None = None
    counters: Counters = Counters()
    sequence_limit_tokens: int | None = None
    concurrent_sequences_limit: int | None = None
    pools: tuple[PoolReport, ...] = ()
    memory_reports: tuple[RankReport, ...] = ()
    ranks: tuple[Rank, ...] = ()
    hosted: tuple[HostedModel, ...] | None = None
    sleep_level: int | None = None
    model_key: str | None = None
    draft_key: str | None = None
    is_remote: bool = False
    is_proxy: bool = False
    """It holds no model itself: each runs in a server of its own."""
    wants_key: bool | None = None
    """The endpoint refuses requests without an API key (True), or answers them where a key would guard (False)."""
