"""vLLM's CPU build: weights and pool in host memory.

Source: vLLM 0.32.0, `vllm/platforms/cpu.py` (blocks of 128 tokens) and `vllm/v1/attention/backends/cpu_attn.py`: a
block of a plain attention layer has the same bytes as on a card. Windows, latent caches and quantized ones are laid out
by rules of their own there, which kvtop does not know.
"""

from dataclasses import replace

from kvtop.domain.figure import UNKNOWN
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.memory import Memory, Segment
from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import DeviceShare, MemoryPlan, NoExactRuleError, PlanDevice, Refusal, allocation_rule
from kvtop.planning.guards import RANKS_PLANNED, refuse_endless
from kvtop.planning.protocol.measured import NOTHING_MEASURED, Measured
from kvtop.planning.versions import as_estimate
from kvtop.planning.vllm.options.settings import settings_from
from kvtop.planning.vllm.planner import plan_options
from kvtop.planning.vllm.refusals import StartRefusedError
from kvtop.planning.vllm.rules.ranges import NEWEST

BLOCK_TOKENS = 128


def on_host(
    launch: LaunchOptions, checkpoint: Checkpoint, measured: Measured = NOTHING_MEASURED
) -> MemoryPlan | Refusal:
    """The plan of `vllm serve` on a machine without accelerators, all ranks together as "host".

    Raises NoExactRuleError for anything but full attention with an unquantized cache.
    """
    try:
        return _planned(launch, checkpoint, measured)
    except StartRefusedError as refused:
        return Refusal(launch.engine, str(refused))


def _planned(launch: LaunchOptions, checkpoint: Checkpoint, measured: Measured) -> MemoryPlan | Refusal:
    refuse_endless(checkpoint.config)
    settings = settings_from(launch)
    if settings.cache_dtype not in {"auto", "bfloat16", "float16"}:
        raise NoExactRuleError(f"kvtop does not know how vLLM's CPU build stores {settings.cache_dtype}")
    if launch.get("block-size") is None:
        block = LaunchOption("block-size", str(BLOCK_TOKENS), Origin.DEFAULT, "platforms/cpu.py")
        launch = replace(launch, options=(*launch.options, block))
    ranks = settings.tp_size * settings.pp_size * settings.dp_size
    if ranks > RANKS_PLANNED:
        raise NoExactRuleError(f"{ranks} ranks are more than one machine has")
    # A card that takes every type and prefers no layout of its own: what is left are the rules of all platforms. Its
    # size decides only how many tokens are in flight, which plain attention layers do not ask.
    cards = tuple(PlanDevice(f"gpu{index}", 64 << 30, compute_capability=(8, 0)) for index in range(ranks))
    found = plan_options(launch, checkpoint, cards, measured)
    if isinstance(found, Refusal):
        return found
    kinds = {part.kind for part in found.cache_parts}
    if kinds - {"full"}:
        raise NoExactRuleError(f"kvtop does not know vLLM's CPU layout of {', '.join(sorted(kinds))} caches")
    if found.vllm is not None:
        found = replace(found, vllm=replace(found.vllm, pool_estimate=None))
    rules_version = f"{found.rules_version} on the CPU"
    rule = allocation_rule(rules_version)
    whole = {segment: replace(figure, source=rule) for segment, figure in found.memory.parts}
    planned = replace(
        found,
        devices=(DeviceShare("host", Memory.of({**whole, Segment.COMPUTE: UNKNOWN})),),
        rules_version=rules_version,
        warnings=(),
    )
    if settings.rules is NEWEST:
        return planned
    return as_estimate(planned, f"rules of {settings.rules.version} were not checked on the CPU")
