"""What may be tried, engine by engine, in the order of advice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kvtop.domain.answers.evidence import Measurement
from kvtop.domain.answers.recommendation import Requirements
from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.adjustments.defaults import unset
from kvtop.planning.what_if import PlanContext, replace_length

STEP_TOKENS = 256
SMALL_UBATCH = 256
_SMALL = f"a micro-batch of {SMALL_UBATCH}: less compute memory, slower prompts"
_FIRST = "8 bits for keys and values: the first step down, usually negligible, depending on the model"


@dataclass(frozen=True, slots=True)
class RecommendRequest:
    """Everything a recommendation stands on.

    `own` are measurements made here. `words` is the command as typed, program first, secrets masked. `version` is the
    engine's, None where nobody knows it. `model` and `architecture` are what the model's file says.
    """

    plan_context: PlanContext
    base: WhatIf
    now: MemoryPlan
    requirements: Requirements
    words: tuple[str, ...]
    model: str
    architecture: str
    trained_tokens: int | None = None
    version: str | None = None
    are_devices_known: bool = True
    own: tuple[Measurement, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """`pair` names its cache types as evidence does. `needs_measurement`: offered only with one of this model."""

    cache: str
    pair: tuple[str, str]
    what_if: WhatIf
    why: str
    needs_measurement: bool = False


def candidates(request: RecommendRequest, sequence_tokens: int | None = None) -> Iterator[Candidate]:
    """All that may be tried for this engine, sequences of `sequence_tokens` (None: as required)."""
    tokens = sequence_tokens if sequence_tokens is not None else request.requirements.context_tokens
    engine = request.now.engine
    if engine == "llama.cpp":
        return _llamacpp(request, _sized_llamacpp(request, tokens))
    if engine == "vllm":
        return _vllm(request, tokens)
    return _mlx(request, tokens)


def _sized_llamacpp(request: RecommendRequest, tokens: int | None) -> WhatIf:
    """The context and slots wished for: with users named, each slot gets its own whole context."""
    context, users = request.now.context, request.requirements.users
    what_if = request.base
    if context is None:
        return what_if
    length = tokens if tokens is not None else context.n_ctx_seq
    if users is not None and (users, False) != (context.n_seq_max, context.kv_unified):
        own = {"parallel": str(users)}
        if users > 1 and what_if.value("kv-unified") == "true":
            own["kv-unified"] = "false"
        what_if = what_if.with_changes(**own)
        return what_if.with_changes(**{"ctx-size": str(length * users)})
    if tokens is None:
        return what_if
    return what_if.with_changes(**{"ctx-size": str(length * (1 if context.kv_unified else context.n_seq_max))})


def _llamacpp(request: RecommendRequest, sized: WhatIf) -> Iterator[Candidate]:
    def typed(type_k: str, type_v: str, ubatch: int | None = None) -> WhatIf:
        words: dict[str, str | None] = {"cache-type-k": type_k, "cache-type-v": type_v, "flash-attn": "on"}
        if ubatch is not None:
            words["ubatch-size"] = str(ubatch)
        return sized.with_changes(**words)

    plain = sized.with_changes(**{name: unset(sized, name) for name in ("cache-type-k", "cache-type-v")})
    yield Candidate("f16/f16", ("f16", "f16"), plain, _reference(request))
    yield Candidate("q8_0/q8_0", ("q8_0", "q8_0"), typed("q8_0", "q8_0"), _FIRST)
    ubatch = request.base.value("ubatch-size") or "512"
    if not ubatch.isdigit() or int(ubatch) > SMALL_UBATCH:
        yield Candidate(
            "q8_0/q8_0",
            ("q8_0", "q8_0"),
            typed("q8_0", "q8_0", SMALL_UBATCH),
            f"8 bits, and {_SMALL}",
        )
        yield Candidate(
            "f16/f16",
            ("f16", "f16"),
            plain.with_changes(**{"ubatch-size": str(SMALL_UBATCH)}),
            f"nothing quantized, and {_SMALL}",
        )
    for type_k, type_v in (("q8_0", "q5_1"), ("q8_0", "q4_0"), ("q5_1", "q5_1"), ("q4_0", "q4_0")):
        yield Candidate(
            f"{type_k}/{type_v}",
            (type_k, type_v),
            typed(type_k, type_v),
            "fewer than 8 bits, because they were measured on this model",
            needs_measurement=True,
        )


def _reference(request: RecommendRequest) -> str:
    if request.requirements.context_tokens is None and request.requirements.users is None:
        return "nothing quantized: nothing to lose"
    return "no more context and slots than asked for, and nothing quantized: nothing to lose"


def _vllm(request: RecommendRequest, tokens: int | None) -> Iterator[Candidate]:
    sized = request.base
    if tokens is not None:
        sized = sized.with_changes(**{"max-model-len": str(tokens)})
    if request.requirements.users is not None:
        sized = sized.with_changes(**{"max-num-seqs": str(request.requirements.users)})
    full = sized.with_changes(**{"gpu-memory-utilization": "0.95"}) if _measures_itself(request) else None
    fp8: dict[str, str | None] = {"kv-cache-dtype": "fp8"}
    plain = {"kv-cache-dtype": unset(sized, "kv-cache-dtype")}
    yield Candidate("auto", ("auto", "auto"), sized.with_changes(**plain), _reference(request))
    yield Candidate("fp8", ("fp8_e4m3", "fp8_e4m3"), sized.with_changes(**fp8), f"FP8: {_FIRST}")
    if full is not None:
        more = "and 95 % of the card for vLLM: leave nothing else on it"
        default = full.with_changes(**plain)
        yield Candidate("auto", ("auto", "auto"), default, f"nothing quantized, {more}")
        yield Candidate("fp8", ("fp8_e4m3", "fp8_e4m3"), full.with_changes(**fp8), f"FP8 {more}")
    cards, ranks = len(request.plan_context.devices), request.base.value("tensor-parallel-size") or "1"
    if ranks.isdigit() and int(ranks) < cards:
        wide = sized.with_changes(**plain, **{"tensor-parallel-size": str(cards)})
        yield Candidate("auto", ("auto", "auto"), wide, f"nothing quantized, over all {cards} cards")


def _measures_itself(request: RecommendRequest) -> bool:
    stated = ("kv-cache-memory-bytes", "num-gpu-blocks-override", "gpu-memory-utilization")
    return all(request.base.value(name) is None for name in stated)


def _mlx(request: RecommendRequest, tokens: int | None) -> Iterator[Candidate]:
    sized = request.base if tokens is None else replace_length(request.base, tokens)
    plain = sized.with_changes(**{"kv-bits": None})
    yield Candidate("16-bit", ("f16", "f16"), plain, _reference(request))
    kinds: Sequence[tuple[str, bool]] = (("8", False), ("4", True))
    for bits, needs in kinds:
        named = f"mlx {bits}-bit g{request.base.value('kv-group-size') or '64'}"
        why = _FIRST if bits == "8" else "fewer than 8 bits, because they were measured on this model"
        yield Candidate(f"{bits}-bit", (named, named), sized.with_changes(**{"kv-bits": bits}), why, needs)
