"""What may be tried, engine by engine, in the order of advice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kvtop.domain.answers.evidence import Measurement
from kvtop.domain.answers.recommendation import Wish
from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.adjustments.defaults import unset
from kvtop.planning.what_if import Ground, replace_length

STEP_TOKENS = 256
SMALL_UBATCH = 256
_SMALL = f"a micro-batch of {SMALL_UBATCH}: less compute memory, slower prompts"
_FIRST = "8 bits for keys and values: the first step down, usually negligible, depending on the model"


@dataclass(frozen=True, slots=True)
class Asked:
    """Everything a recommendation stands on.

    `own` are measurements made here. `words` is the command as typed, program first, secrets masked. `version` is the
    engine's, None where nobody knows it. `model` and `architecture` are what the model's file says.
    """

    ground: Ground
    base: WhatIf
    now: MemoryPlan
    wish: Wish
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


def candidates(asked: Asked, sequence_tokens: int | None = None) -> Iterator[Candidate]:
    """All that may be tried for this engine, sequences of `sequence_tokens` (None: as the wish says)."""
    tokens = sequence_tokens if sequence_tokens is not None else asked.wish.context_tokens
    engine = asked.now.engine
    if engine == "llama.cpp":
        return _llamacpp(asked, _sized_llamacpp(asked, tokens))
    if engine == "vllm":
        return _vllm(asked, tokens)
    return _mlx(asked, tokens)


def _sized_llamacpp(asked: Asked, tokens: int | None) -> WhatIf:
    """The context and slots wished for: with users named, each slot gets its own whole context."""
    context, users = asked.now.context, asked.wish.users
    what_if = asked.base
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


def _llamacpp(asked: Asked, sized: WhatIf) -> Iterator[Candidate]:
    def typed(type_k: str, type_v: str, ubatch: int | None = None) -> WhatIf:
        words: dict[str, str | None] = {"cache-type-k": type_k, "cache-type-v": type_v, "flash-attn": "on"}
        if ubatch is not None:
            words["ubatch-size"] = str(ubatch)
        return sized.with_changes(**words)

    plain = sized.with_changes(**{name: unset(sized, name) for name in ("cache-type-k", "cache-type-v")})
    yield Candidate("f16/f16", ("f16", "f16"), plain, _reference(asked))
    yield Candidate("q8_0/q8_0", ("q8_0", "q8_0"), typed("q8_0", "q8_0"), _FIRST)
    ubatch = asked.base.value("ubatch-size") or "512"
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


def _reference(asked: Asked) -> str:
    if asked.wish.context_tokens is None and asked.wish.users is None:
        return "nothing quantized: nothing to lose"
    return "no more context and slots than asked for, and nothing quantized: nothing to lose"


def _vllm(asked: Asked, tokens: int | None) -> Iterator[Candidate]:
    sized = asked.base
    if tokens is not None:
        sized = sized.with_changes(**{"max-model-len": str(tokens)})
    if asked.wish.users is not None:
        sized = sized.with_changes(**{"max-num-seqs": str(asked.wish.users)})
    full = sized.with_changes(**{"gpu-memory-utilization": "0.95"}) if _measures_itself(asked) else None
    fp8: dict[str, str | None] = {"kv-cache-dtype": "fp8"}
    plain = {"kv-cache-dtype": unset(sized, "kv-cache-dtype")}
    yield Candidate("auto", ("auto", "auto"), sized.with_changes(**plain), _reference(asked))
    yield Candidate("fp8", ("fp8_e4m3", "fp8_e4m3"), sized.with_changes(**fp8), f"FP8: {_FIRST}")
    if full is not None:
        more = "and 95 % of the card for vLLM: leave nothing else on it"
        default = full.with_changes(**plain)
        yield Candidate("auto", ("auto", "auto"), default, f"nothing quantized, {more}")
        yield Candidate("fp8", ("fp8_e4m3", "fp8_e4m3"), full.with_changes(**fp8), f"FP8 {more}")
    cards, ranks = len(asked.ground.devices), asked.base.value("tensor-parallel-size") or "1"
    if ranks.isdigit() and int(ranks) < cards:
        wide = sized.with_changes(**plain, **{"tensor-parallel-size": str(cards)})
        yield Candidate("auto", ("auto", "auto"), wide, f"nothing quantized, over all {cards} cards")


def _measures_itself(asked: Asked) -> bool:
    stated = ("kv-cache-memory-bytes", "num-gpu-blocks-override", "gpu-memory-utilization")
    return all(asked.base.value(name) is None for name in stated)


def _mlx(asked: Asked, tokens: int | None) -> Iterator[Candidate]:
    sized = asked.base if tokens is None else replace_length(asked.base, tokens)
    plain = sized.with_changes(**{"kv-bits": None})
    yield Candidate("16-bit", ("f16", "f16"), plain, _reference(asked))
    kinds: Sequence[tuple[str, bool]] = (("8", False), ("4", True))
    for bits, needs in kinds:
        named = f"mlx {bits}-bit g{asked.base.value('kv-group-size') or '64'}"
        why = _FIRST if bits == "8" else "fewer than 8 bits, because they were measured on this model"
        yield Candidate(f"{bits}-bit", (named, named), sized.with_changes(**{"kv-bits": bits}), why, needs)
