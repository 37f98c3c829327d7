"""What `mlx_lm.server` will hold for one sequence, before it runs: the entry of the MLX rules.

The server has no configured context: its cache grows with the sequence, so a plan is for one
sequence of a stated length.
Source: mlx-lm 0.32.2, `generate.py` (generate_step), `server.py`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kvtop.domain.figure import UNKNOWN, Figure
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.memory import Memory, Segment
from kvtop.domain.model_file import Checkpoint
from kvtop.domain.plan import CachePart, DeviceShare, MemoryPlan, NoExactRuleError, Refusal, Step, allocation_rule
from kvtop.planning.guards import whole_option
from kvtop.planning.mlx.activation_type import activation_bytes
from kvtop.planning.mlx.failures import EngineError, convert
from kvtop.planning.mlx.layout import CacheKind, ModelCaches
from kvtop.planning.mlx.models.cache_kinds import caches_of, text_config
from kvtop.planning.mlx.options import ENGINE, parse_server_options
from kvtop.planning.mlx.rows import GrowingCache, Quantization, portions
from kvtop.text import bytes_text

RULES_VERSION = "mlx-lm 0.32.2"
PREFILL_STEP_TOKENS = 2048
GROUP_SIZE = 64
QUANTIZED_KV_START_TOKENS = 5000
MOST_PORTIONS = 65_536
"""Steps in which a sequence is followed through its caches: a length of a stranger's file must not take hours."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What a sequence left behind: its caches in order, how many of each, and the most they weighed on the way."""

    caches: tuple[tuple[GrowingCache, int], ...]
    peak_bytes: int


def plan_command(argv: Sequence[str], checkpoint: Checkpoint, at_tokens: int | None) -> MemoryPlan | Refusal:
    """The plan of `mlx_lm.server` with these words after it, for one fresh sequence of `at_tokens` tokens.

    `at_tokens` None takes `max_position_embeddings`. All memory is on "host": the GPU shares it.

    Returns:
        The plan; or a Refusal with the engine's words where it would not start, or not serve that sequence.

    Raises:
        NoExactRuleError: kvtop has no exact rule for this model or option.
    """
    return plan_options(parse_server_options(argv), checkpoint, at_tokens)


def plan_options(options: LaunchOptions, checkpoint: Checkpoint, at_tokens: int | None) -> MemoryPlan | Refusal:
    """As `plan_command`, from options that are parsed already (a running server's)."""
    if options.errors:
        return Refusal(ENGINE, options.errors[0])
    if options.value("draft-model") is not None:
        raise NoExactRuleError("--draft-model: kvtop has no rule for a second model's cache in mlx_lm.server")
    model = caches_of(checkpoint.config)
    quantization = _quantization(options)
    context = _context(checkpoint, at_tokens)
    prefill = _whole(options, "prefill-step-size", PREFILL_STEP_TOKENS)
    if prefill < 1:
        raise NoExactRuleError(f"--prefill-step-size {prefill}: kvtop has no rule for it")
    if context // prefill > MOST_PORTIONS:
        raise NoExactRuleError(f"{context} tokens in portions of {prefill} are more steps than kvtop follows")
    width = activation_bytes(checkpoint)
    try:
        held = _serve(model, context, prefill, width, quantization)
    except EngineError as error:
        return Refusal(ENGINE, str(error))
    return _plan(options, checkpoint, model, context, held, width, quantization)


def _whole(options: LaunchOptions, name: str, default: int) -> int:
    value = whole_option(options.value(name))
    return default if value is None else value


def _quantization(options: LaunchOptions) -> Quantization | None:
    bits = whole_option(options.value("kv-bits"))
    if bits is None:
        return None
    group = _whole(options, "kv-group-size", GROUP_SIZE)
    return Quantization(bits, group, _whole(options, "quantized-kv-start", QUANTIZED_KV_START_TOKENS))


def _context(checkpoint: Checkpoint, at_tokens: int | None) -> int:
    if at_tokens is not None:
        if at_tokens < 1:
            raise NoExactRuleError(f"a sequence of {at_tokens} tokens has no cache to plan")
        return at_tokens
    stated = text_config(checkpoint.config)[1].get("max_position_embeddings")
    if stated is None:
        stated = checkpoint.config.get("max_position_embeddings")
    if isinstance(stated, bool) or not isinstance(stated, int) or stated < 1:
        raise NoExactRuleError("config.json has no max_position_embeddings: say a length with --at")
    return stated


def _serve(model: ModelCaches, context: int, prefill: int, width: int, quantization: Quantization | None) -> _Held:
    """Pass one sequence through the caches. Equal caches are walked once, in the order mlx-lm meets them."""
    counted = Counter(model.caches)
    caches = tuple((GrowingCache(layer), count) for layer, count in counted.items())
    peak = 0
    for tokens in portions(context, prefill):
        error = model.error_reading(tokens)
        if error is not None and any(cache.converted for cache, _ in caches):
            raise EngineError(error)
        for cache, _ in caches:
            cache.take(tokens)
        # Before conversion: what just arrived is still at full width.
        peak = max(peak, sum(cache.bytes(width, quantization) * count for cache, count in caches))
        if quantization is not None:
            for cache, _ in caches:
                convert(cache, quantization)  # to less: the peak has been before it
    return _Held(caches, peak)


def _plan(
    options: LaunchOptions,
    checkpoint: Checkpoint,
    model: ModelCaches,
    context: int,
    held: _Held,
    width: int,
    quantization: Quantization | None,
) -> MemoryPlan:
    parts: dict[CacheKind, CachePart] = {}
    growing = 0.0
    for cache, count in held.caches:
        kind, size = cache.layer.kind, cache.bytes(width, quantization) * count
        before = parts.get(kind, CachePart(kind.value, 0, 0, None))
        cells = None if kind is CacheKind.RECURRENT else cache.rows
        parts[kind] = CachePart(kind.value, before.size_bytes + size, before.layers + count, cells)
        if kind is CacheKind.FULL and cache.rows:
            growing += size / cache.rows
    recurrent = parts[CacheKind.RECURRENT].size_bytes if CacheKind.RECURRENT in parts else 0
    cached = sum(part.size_bytes for part in parts.values()) - recurrent
    converted = quantization is not None and any(cache.converted for cache, _ in held.caches)
    stored = f"q{quantization.bits} g{quantization.group_size}" if converted and quantization else _TYPE_NAMES[width]
    return MemoryPlan(
        engine=ENGINE,
        rules_version=RULES_VERSION,
        model=options.value("model") or checkpoint.path,
        architecture=model.model_type,
        devices=(DeviceShare("host", _memory(checkpoint.tensor_bytes, cached, recurrent)),),
        bytes_per_token=growing,
        cache_parts=tuple(parts.values()),
        type_k=stored,
        type_v=stored,
        steps=_steps(context, held, quantization),
        warnings=_warnings(options, context, quantization, converted=converted),
    )


def _memory(weights_bytes: int | None, cached_bytes: int, recurrent_bytes: int) -> Memory:
    rule = allocation_rule(RULES_VERSION)
    return Memory.of(
        {
            Segment.WEIGHTS: Figure.computed(weights_bytes, rule),
            Segment.KV_CACHE: Figure.computed(cached_bytes, rule),
            Segment.RECURRENT: Figure.computed(recurrent_bytes, rule),
            Segment.COMPUTE: UNKNOWN,
            Segment.OUTPUT: Figure.computed(0, rule),
        }
    )


_TYPE_NAMES = {2: "16-bit", 4: "float32"}


def _steps(context: int, held: _Held, quantization: Quantization | None) -> tuple[Step, ...]:
    steps = [
        Step(
            f"one sequence of {context} tokens, up to {bytes_text(held.peak_bytes)} ({held.peak_bytes} bytes) "
            "of cache between its prefill steps",
            "mlx-lm generate.py: the prompt in steps of --prefill-step-size, then token by token",
        ),
        Step("full-attention caches grow by 256 rows at a time", "mlx-lm models/cache.py: KVCache.step"),
    ]
    if quantization is not None:
        steps.append(
            Step(
                f"caches of {quantization.start_tokens} tokens or more hold {quantization.bits} bits a value, with a "
                f"scale and a bias per {quantization.group_size}",
                "mlx-lm generate.py: maybe_quantize_kv_cache",
            )
        )
    return tuple(steps)


def _warnings(
    options: LaunchOptions, context: int, quantization: Quantization | None, *, converted: bool
) -> tuple[str, ...]:
    kept = _whole(options, "prompt-cache-size", 10)
    warnings = [
        f"this is the cache of one sequence: the server has no context limit, and keeps up to {kept} finished ones",
        "compute memory is not planned for MLX",
    ]
    if quantization is not None and not converted:
        reason = (
            f"--quantized-kv-start is {quantization.start_tokens}"
            if context < quantization.start_tokens
            else "mlx-lm cannot quantize this model's caches and says nothing"
        )
        warnings.append(f"--kv-bits has no effect on a sequence of {context} tokens: {reason}")
    if quantization is not None and options.value("prompt-cache-bytes") is not None:
        warnings.append("--prompt-cache-bytes is ignored with --kv-bits")
    return tuple(warnings)
