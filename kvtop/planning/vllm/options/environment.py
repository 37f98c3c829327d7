"""Variables of `vllm serve` that decide memory.

Source: vLLM 0.32.0, `vllm/envs.py`; where each is read stands beside its rule.
"""

from collections.abc import Mapping

from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.plan import NoExactRuleError

LONG_LENGTH = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
"""`config/model.py`: a longer context than the configuration allows is a warning then."""
PARTITION = "VLLM_PP_LAYER_PARTITION"
"""`distributed/utils.py`: how many layers each pipeline stage holds."""
_UNPLANNED = {
    "VLLM_MLA_DISABLE": "latent attention is unfolded",
    "VLLM_KV_CACHE_LAYOUT": "another layout of the pool is asked for",
    "VLLM_BATCH_INVARIANT": "other attention backends are chosen",
    "VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE": "chunked attention is kept in groups of its own",
}
_RUNNER = "VLLM_USE_V2_MODEL_RUNNER"
VARIABLES = (LONG_LENGTH, PARTITION, _RUNNER, *_UNPLANNED)
"""What kvtop reads of a server's environment for this engine."""


def with_environment(options: LaunchOptions, environ: Mapping[str, str]) -> LaunchOptions:
    """The options with these variables among them, under their own names."""
    found = tuple(
        LaunchOption(name, environ[name], Origin.ENVIRONMENT, name) for name in VARIABLES if environ.get(name)
    )
    if not found:
        return options
    return LaunchOptions(options.engine, (*options.options, *found), options.unknown, options.errors)


def allows_long(options: LaunchOptions) -> bool:
    """Whether a context beyond the configuration's is accepted."""
    return (options.value(LONG_LENGTH) or "").strip().lower() in ("1", "true")


def stage_layers(options: LaunchOptions) -> str | None:
    """The layers of each pipeline stage, as written."""
    return options.value(PARTITION)


def refuse_to_guess(options: LaunchOptions) -> None:
    """Raises NoExactRuleError for a variable that changes the pool in ways that kvtop has no rule for."""
    for name, why in _UNPLANNED.items():
        value = options.value(name)
        if value is not None and value.strip().lower() not in ("0", "false"):
            raise NoExactRuleError(f"{name}={value}: {why}, which kvtop cannot plan exactly")
    if (options.value(_RUNNER) or "1").strip() == "0":
        raise NoExactRuleError(f"{_RUNNER}=0: the older model runner is chosen, which kvtop cannot plan exactly")
