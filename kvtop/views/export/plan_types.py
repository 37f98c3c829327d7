"""What `kvtop plan --json` prints, schema `kvtop.plan/1`. Within a version names are only added to."""

from typing import NotRequired, TypedDict

SCHEMA = "kvtop.plan/1"


class EstimateJson(TypedDict):
    """An amount and the range that is meant to hold the truth in 95 % of cases; null is unknown."""

    value: int | None
    low: int | None
    high: int | None


class AmountsJson(TypedDict):
    """Bytes by segment; null is unknown. Everything but `compute_bytes` is exact where the basis is "computed"."""

    weights_bytes: int | None
    kv_cache_bytes: int | None
    recurrent_state_bytes: int
    compute_bytes: EstimateJson
    output_bytes: int


class DeviceAmountsJson(AmountsJson):
    """The same on one device: "gpu0" …, "host". `available_bytes` is free now, else all there is; null is unknown.

    `needed_bytes` is the whole of it, at least as much where a part is unknown. `total_bytes` is what its API reports.
    `reserve_bytes` comes off `available_bytes` for the process's own context and the growth of its pool, which leaves
    `room_bytes`. `fit` holds the plan against that range: "fits", "tight" (the estimates decide), "does not fit" or
    "unknown". `basis` is "computed" where everything but compute is exact; else "estimated", and `ranges` has the range
    of each of its parts.
    """

    name: str
    available_bytes: int | None
    total_bytes: int | None
    reserve_bytes: EstimateJson | None
    room_bytes: EstimateJson | None
    needed_bytes: EstimateJson
    fit: str
    basis: str
    ranges: dict[str, EstimateJson] | None


class CacheTypesJson(TypedDict):
    """The types of K and V; null where the engine has none."""

    k: str | None
    v: str | None


class ContextJson(TypedDict):
    """llama.cpp's effective context: `n_ctx` cells in all, `n_ctx_seq` for each of `n_seq_max` sequences."""

    n_ctx: int
    n_ctx_seq: int
    n_seq_max: int
    kv_unified: bool


class FitValuesJson(TypedDict):
    """The parameters that llama.cpp loads with. `n_gpu_layers` -1 is all of them, -2 all by name."""

    n_ctx: int
    n_ctx_seq: int
    n_gpu_layers: int
    tensor_split: list[float]
    overrides: list[list[str]]


class EngineFitJson(FitValuesJson):
    """What came of `--fit`: `devices` and `context` of the plan are those after it.

    `applied` is true where it ran and succeeded; `possible` are other outcomes that the estimate leaves open.
    """

    applied: bool
    reason: str | None
    margin_kept: bool | None
    within_free: bool | None
    change: str | None
    flags: list[str]
    possible: list[FitValuesJson]


class AskedJson(TypedDict):
    """The plan before `--fit`, where they differ."""

    devices: list[DeviceAmountsJson]
    context: ContextJson | None


class PlanCacheJson(TypedDict):
    """The cache over all devices; `by_kind` in bytes ("full", "sliding_window", "recurrent" …)."""

    bytes_per_token: float | None
    by_kind: dict[str, int]


class RangeJson(TypedDict):
    """An amount and the range that is meant to hold the truth in 95 % of cases."""

    value: float
    low: float
    high: float


class LikelyPoolJson(TypedDict):
    """The likely pool of a rank, where vLLM measures what is left for it."""

    bytes_per_rank: RangeJson
    kv_cache_tokens: RangeJson
    max_concurrency: RangeJson


class VllmJson(TypedDict):
    """The block pool of vLLM, per rank, as it logs it; null where vLLM measures it when it starts.

    `requested_bytes_per_rank` is then its share of each card, which it takes whatever the model needs.
    """

    bytes_per_token_per_rank: float
    bytes_per_block: int
    block_size_tokens: int
    num_gpu_blocks: int | None
    kv_cache_tokens: int | None
    max_concurrency: float | None
    max_model_len_tokens: int | None
    pool_estimate: LikelyPoolJson | None
    requested_bytes_per_rank: list[int | None]


class CheckJson(TypedDict):
    """One figure beside that of the engine's own tool, in MiB rounded down."""

    device: str
    what: str
    planned_mib: int
    reported_mib: int
    agrees: bool


class VerifyJson(TypedDict):
    """What --verify compared, and what it says of it."""

    note: str
    checks: list[CheckJson]


class StepJson(TypedDict):
    """One line of the derivation, with --explain."""

    text: str
    rule: str
    arithmetic: str | None


class HostGrowthJson(TypedDict):
    """What a llama-server comes to hold in host memory beside its plan, at most; null is no limit, or unknown.

    `prompt_bytes` is one saved prompt of `prompt_tokens`, the most that a slot takes, without its checkpoints.
    """

    most_bytes: int | None
    prompt_cache_limit_bytes: int | None
    prompt_tokens: int
    prompt_bytes: int | None
    checkpoints_per_slot: int
    checkpoint_bytes: int | None
    checkpoints_bytes: int | None


class PlanJson(TypedDict):
    """One plan. `refusal`: why the engine, whose version is known, would not start with the command as typed.

    `copied_cache_bytes` is a part of compute: the largest layer's cache as f16, where attention cannot read it as it is
    stored. `largest_context_tokens` null: not asked, or nothing limits it; 0: not even the smallest fits.
    """

    schema: str
    engine: str
    rules_version: str
    model: str
    architecture: str
    flash_attention: bool | None
    cache_types: CacheTypesJson
    context: ContextJson | None
    total: AmountsJson
    devices: list[DeviceAmountsJson]
    fit: EngineFitJson | None
    asked: AskedJson | None
    kv_cache: PlanCacheJson
    vllm: VllmJson | None
    copied_cache_bytes: int
    host_growth: HostGrowthJson | None
    largest_context_tokens: int | None
    assumption: str | None
    refusal: str | None
    warnings: list[str]
    notes: list[str]
    verify: NotRequired[VerifyJson]
    steps: NotRequired[list[StepJson]]


class PlanErrorJson(TypedDict):
    """Why there is no plan; `hints` say who or what is in the way, and what would start."""

    message: str
    hints: NotRequired[list[str]]


class NoPlanJson(TypedDict):
    """No plan and no number; `model` is as it was typed."""

    schema: str
    engine: str | None
    model: str | None
    error: PlanErrorJson
