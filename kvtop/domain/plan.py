"""What a server will take: the answer of `planning`, before or while it runs."""

from dataclasses import dataclass

from kvtop.domain.figure import NOTHING, Figure
from kvtop.domain.memory import Memory, Segment


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
    own_context: Figure = NOTHING
    """What of the free memory the driver takes for the process itself before anything is loaded."""
    pool_growth: Figure = NOTHING
    """What the API's pool of temporary buffers takes besides, once prompts are worked on."""


@dataclass(frozen=True, slots=True)
class DeviceShare:
    """What a server takes on one device ("gpu0" …, "host").

    WEIGHTS are unknown where the checkpoint holds no tensors (a bare config.json) or the engine's split of them is not
    known exactly; KV_CACHE where the pool depends on what the engine finds free when it starts (vLLM without
    `--kv-cache-memory-bytes`); COMPUTE where no rule estimates it.
    """

    name: str
    memory: Memory


def allocation_rule(rules_version: str) -> str:
    """Who says an exact figure of a plan: a `Figure.source`."""
    return f"{rules_version} allocation rules on this model file"


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

    pool: Figure
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
class HostGrowth:
    """What a llama-server comes to hold in host memory beside its plan, at most.

    `cache_limit_bytes` bounds saved prompts: None is no limit, 0 none are kept. `prompt_bytes` is one of
    `prompt_tokens`, the most that a slot takes, without its checkpoints; None where no rule is known.
    `checkpoint_bytes` is one context checkpoint, of which each of `slots` slots keeps up to `checkpoints`; 0 where the
    model needs none.
    """

    cache_limit_bytes: int | None
    prompt_tokens: int
    prompt_bytes: int | None
    checkpoints: int
    checkpoint_bytes: int | None
    slots: int

    @property
    def checkpoints_bytes(self) -> int | None:
        """The checkpoints of all slots; None where no rule is known."""
        return None if self.checkpoint_bytes is None else self.slots * self.checkpoints * self.checkpoint_bytes

    @property
    def most_bytes(self) -> int | None:
        """All of it; None where there is no limit, or no rule."""
        if self.cache_limit_bytes is None or self.checkpoints_bytes is None:
            return None
        return self.cache_limit_bytes + self.checkpoints_bytes


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What the engine allocates where. `bytes_per_token` counts only layers that grow with the context, all devices."""

    engine: str
    rules_version: str
    """Engine version that the rules were checked on ("llama.cpp b11434")."""
    model: str
    architecture: str
    devices: tuple[DeviceShare, ...]
    bytes_per_token: float | None
    cache_parts: tuple[CachePart, ...]
    type_k: str | None = None
    type_v: str | None = None
    flash_attention: bool | None = None
    context: ContextPlan | None = None
    vllm: VllmPlan | None = None
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    copied_cache_bytes: int = 0
    """Of compute: the largest layer's cache as f16, where fused attention cannot read it as it is stored."""
    host_growth: HostGrowth | None = None
    """What comes on top in host memory as requests come; None for engines that keep nothing there."""

    @property
    def memory(self) -> Memory:
        """All devices together; a segment that is unknown on one of them is unknown."""
        return Memory.total_of(part.memory for part in self.devices)

    def device(self, name: str) -> DeviceShare | None:
        """The share of one device, or None if the plan puts nothing there."""
        return next((part for part in self.devices if part.name == name), None)

    def likely(self, part: DeviceShare) -> Memory:
        """The share with the pool that the engine will probably find room for, where nobody states its bytes."""
        pool = self.vllm.pool_estimate if self.vllm is not None else None
        if pool is None or part.memory[Segment.KV_CACHE].value_bytes is not None:
            return part.memory
        return part.memory.replaced({Segment.KV_CACHE: pool.pool})


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
