"""What a server will take: the answer of `planning`, before or while it runs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """An amount with a range that is meant to hold the truth in 95 % of cases; low == value == high is exact."""

    value_bytes: int
    low_bytes: int
    high_bytes: int

    @classmethod
    def exactly(cls, size_bytes: int) -> "Estimate":
        """An amount without a range."""
        return cls(size_bytes, size_bytes, size_bytes)

    @property
    def is_exact(self) -> bool:
        """Whether the range has no width."""
        return self.low_bytes == self.high_bytes

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(
            self.value_bytes + other.value_bytes,
            self.low_bytes + other.low_bytes,
            self.high_bytes + other.high_bytes,
        )


NOTHING = Estimate(0, 0, 0)


@dataclass(frozen=True, slots=True)
class PlanDevice:
    """A device to plan for.

    `name` is "gpu0", "gpu1" …; `total_bytes` is what its API reports, which a driver's own total may exceed.
    `free_bytes` None: unknown, taken as enough. `compute_capability` None: not CUDA or unknown. Host memory is always
    there besides and is not listed.
    `compute_api`: a name of `COMPUTE_APIS`, or "unknown".
    """

    name: str
    total_bytes: int | None
    free_bytes: int | None = None
    compute_capability: tuple[int, int] | None = (8, 9)
    compute_api: str = "cuda"
    product: str = ""
    buffer_alignment_bytes: int | None = None
    """To what tensors in a buffer are aligned, where the API leaves that to the driver; None: not known."""
    bytes_per_second: int | None = None
    """The bandwidth of its memory where somebody stated it; None: as its product's data sheet says."""
    own_context: Estimate = NOTHING
    """What of the free memory the driver takes for the process itself before anything is loaded."""
    pool_growth: Estimate = NOTHING
    """What the API's pool of temporary buffers takes besides, once prompts are worked on."""


@dataclass(frozen=True, slots=True)
class InexactParts:
    """What the otherwise exact parts of a DevicePlan may be where no exact rule exists, and why there is none.

    A part that the plan does not know (None there) stays unknown: its range here is empty and means nothing. A range
    without width is exact, as the part is beside the others.
    """

    weights: Estimate
    kv_cache: Estimate
    recurrent_state: Estimate
    reason: str


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """Bytes on one device ("gpu0" …, "host"). Everything but `compute` is exact, unless `inexact` has its range.

    `weights_bytes` is None where the checkpoint holds no tensors (a bare config.json) or the engine's split of them
    is not known exactly; `kv_cache_bytes` is None where the pool depends on what the engine finds free when it starts
    (vLLM without `--kv-cache-memory-bytes`). Neither is ever 0 for "unknown".
    """

    name: str
    weights_bytes: int | None
    kv_cache_bytes: int | None
    recurrent_state_bytes: int
    compute: Estimate
    output_bytes: int
    inexact: InexactParts | None = None

    @property
    def held(self) -> Estimate:
        """Everything but compute together; a part that is unknown counts as nothing."""
        if self.inexact is not None:
            parts = (self.inexact.weights, self.inexact.kv_cache, self.inexact.recurrent_state)
            return sum(parts, Estimate.exactly(self.output_bytes))
        pool = (self.weights_bytes or 0) + (self.kv_cache_bytes or 0)
        return Estimate.exactly(pool + self.recurrent_state_bytes + self.output_bytes)


@dataclass(frozen=True, slots=True)
class ContextPlan:
    """llama.cpp's effective context: `n_ctx` cells in all, `n_ctx_seq` per sequence."""

    n_ctx: int
    n_ctx_seq: int
    n_seq_max: int
    kv_unified: bool


@dataclass(frozen=True, slots=True)
class PoolEstimate:
    """The pool that vLLM will probably find room for when it profiles itself, per rank: never an exact figure.

    `tokens` and `concurrency` belong to `pool.value_bytes`, the others to the ends of its range; 0 where one request
    of full length would not fit and vLLM would refuse to start.
    """

    pool: Estimate
    tokens: int
    tokens_low: int
    tokens_high: int
    concurrency: float
    concurrency_low: float
    concurrency_high: float


@dataclass(frozen=True, slots=True)
class VllmPlan:
    """The block pool of vLLM, per rank, as it logs it. None where it depends on memory that nobody stated."""

    bytes_per_token_per_rank: float
    bytes_per_block: int
    block_size_tokens: int
    num_gpu_blocks: int | None
    kv_cache_tokens: int | None
    max_concurrency: float | None
    max_model_len_tokens: int | None = None
    """The longest sequence that a request may have, as vLLM settles it."""
    pool_estimate: PoolEstimate | None = None
    """Where the pool is not stated and depends on what vLLM finds free: what is likely."""
    requested_bytes_per_rank: tuple[int | None, ...] = ()
    """Where the pool is not stated: what vLLM takes of each rank's card in all. None: the card's size is unknown."""


@dataclass(frozen=True, slots=True)
class CachePart:
    """One kind of cache ("full", "sliding_window", "indexer", "recurrent", "draft" …) over all devices."""

    kind: str
    size_bytes: int
    layers: int
    cells: int | None
    """Rows per layer and stream, None for state that does not grow."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the derivation: what was concluded, and the engine's rule behind it."""

    text: str
    rule: str
    arithmetic: str = ""
    """The product or sum of bytes that was concluded ("32 layers x 4096 cells x (2048 + 2048) bytes = …"), or ""."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What the engine allocates where. `bytes_per_token` counts only layers that grow with the context, all devices."""

    engine: str
    rules_version: str
    """Engine version that the rules were checked on ("llama.cpp b11434")."""
    model: str
    architecture: str
    devices: tuple[DevicePlan, ...]
    bytes_per_token: float | None
    cache_parts: tuple[CachePart, ...]
    type_k: str | None = None
    type_v: str | None = None
    flash_attention: bool | None = None
    context: ContextPlan | None = None
    vllm: VllmPlan | None = None
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    is_compute_known: bool = True
    """False where no rule estimates compute memory: `DevicePlan.compute` is then empty and means unknown."""

    def device(self, name: str) -> DevicePlan | None:
        """The part on one device, or None if the plan puts nothing there."""
        for part in self.devices:
            if part.name == name:
                return part
        return None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The engine would not start with these options. `message` is in the engine's own words."""

    engine: str
    message: str
    hints: tuple[str, ...] = ()
    """Who or what is in the way, and what would start: each planned before it is said."""


class NoExactRuleError(Exception):
    """kvtop has no rule for this model or option: no number is better than a wrong one. str() says which and why."""


class MalformedModelError(NoExactRuleError):
    """A model file contradicts itself or its architecture: no engine would load it. str() names the key or tensor."""
