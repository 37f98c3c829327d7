"""Quality figures by model and pair of cache types, with their provenance; the figures are in evidence.toml."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files

from kvtop.domain.answers.evidence import Evidence, Match, Measurement, Tier
from kvtop.text import UnusableTextError

METRICS = (
    "kl_divergence",
    "kl_divergence_top40",
    "median_kl_divergence",
    "same_top_token",
    "aime25",
    "aime_correct",
    "gsm8k",
    "gpqa_diamond",
    "humaneval_change",
    "ln_perplexity_ratio",
    "perplexity_change",
)
"""What says how far outputs move, the most telling first; perplexity hides small damage (facts: 8-bit rows)."""

DISTANCES = frozenset({"kl_divergence", "kl_divergence_top40", "median_kl_divergence"})

_TIERS = tuple(Tier)
_CONFLICT_RATIO = 3.0
_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", re.IGNORECASE)
_CLASS = re.compile(r"For(?:CausalLM|ConditionalGeneration)$")
_WEIGHTS = re.compile(r"(?<![a-z0-9])(?:ud-)?(?:i?q\d\w*|(?:b?f|fp|nvfp|mxfp|int)\d+\w*|\d+-?bit)(?![a-z0-9])")
"""How weights are stored, as names say it ("Q4_K_M", "UD-IQ2_XXS", "BF16", "4bit")."""
_EVERY_MODEL = frozenset(
    ("instruct", "it", "chat", "base", "hf", "gguf", "mlx", "awq", "gptq", "qat", "b", "m")
    + ("meta", "google", "openai", "mistralai", "unsloth", "bartowski")
)
"""Words of names that do not tell two models of one family apart, or only who published the file."""
_UNQUANTIZED = frozenset({"f32", "f16", "bf16", "auto", "16-bit", "float16", "bfloat16"})


@lru_cache(maxsize=1)
def library() -> tuple[Measurement, ...]:
    """Every figure of evidence.toml. Raises ValueError naming a figure that lacks something."""
    text = files("kvtop.analysis").joinpath("evidence.toml").read_text(encoding="utf-8")
    return measurements_of(tomllib.loads(text))


def measurements_of(document: Mapping[str, object]) -> tuple[Measurement, ...]:
    """Figures of a parsed document `{"figure": [...]}`. Raises ValueError naming the figure and the key."""
    rows = document.get("figure", [])
    if not isinstance(rows, list):
        raise UnusableTextError("evidence: 'figure' must be a list of tables")
    return tuple(_measurement(number, row) for number, row in enumerate(rows, 1))


def _measurement(number: int, row: Mapping[str, object]) -> Measurement:
    def word(key: str, default: str | None = None) -> str:
        value = row.get(key, default)
        if not isinstance(value, str):
            raise UnusableTextError(f"evidence: figure {number}: {key!r} must be a word")
        return value

    value, architectures, year = row.get("value"), row.get("architectures", []), row.get("year")
    if not isinstance(architectures, list) or not isinstance(year, int):
        raise UnusableTextError(f"evidence: figure {number}: 'architectures' must be a list and 'year' a number")
    error = row.get("standard_error")
    for name, given in (("value", value), ("standard_error", error)):
        if given is not None and not isinstance(given, int | float):
            raise UnusableTextError(f"evidence: figure {number}: {name!r} must be a number")
    return Measurement(
        model=word("model"),
        architectures=tuple(str(it) for it in architectures),
        type_k=word("type_k"),
        type_v=word("type_v"),
        rotation=word("rotation", "unknown"),
        metric=word("metric"),
        value=float(value) if isinstance(value, int | float) else None,
        text=word("text", ""),
        unit=word("unit", ""),
        baseline=word("baseline", ""),
        source=word("source"),
        url=word("url", ""),
        year=year,
        tier=Tier(word("tier")),
        note=word("note", ""),
        contradicted=word("contradicted", ""),
        standard_error=float(error) if isinstance(error, int | float) else None,
    )


def evidence_for(model: str, architecture: str, type_k: str, type_v: str, own: Sequence[Measurement] = ()) -> Evidence:
    """What is known of a pair for a model, or for the nearest measured one, or that nothing is.

    `model` is its name ("Gemma 3 27B Instruct"), `architecture` llama.cpp's or the config's word. `own` are figures
    measured here; they come first. An unquantized pair is the reference and has no evidence against it.
    """
    pair = [it for it in (*own, *library()) if (it.type_k, it.type_v) == (type_k, type_v)]
    telling = [it for it in pair if it.metric in METRICS and it.value is not None]
    believed = [it for it in telling if it.tier is not Tier.UNVERIFIED]
    claims = tuple(it for it in pair if it.tier is Tier.UNVERIFIED and it.metric in METRICS)
    family = [it for it in believed if _family(architecture) in map(_family, it.architectures)]
    same = [it for it in family if _is_model(model, it.model)]
    match = Match.THIS_MODEL if same else Match.SAME_FAMILY if family else Match.NONE
    chosen = _ranked(same or family)
    named = chosen[0].model if chosen else ""
    near = tuple(it for it in chosen if _is_model(named, it.model))
    elsewhere = _ranked(it for it in believed if it not in near)
    reference = type_k in _UNQUANTIZED and type_v in _UNQUANTIZED
    conflict = "" if reference else _conflict([*near, *elsewhere])
    return Evidence(type_k, type_v, match, named, near, elsewhere, claims, conflict)


def _ranked(found: Iterable[Measurement]) -> tuple[Measurement, ...]:
    """Own first, then by metric, then by tier, the newest of equals first."""
    order = sorted(
        found,
        key=lambda it: (
            it.tier is not Tier.OWN,
            METRICS.index(it.metric),
            it.rotation == "off",
            _TIERS.index(it.tier),
            -it.year,
        ),
    )
    return tuple(order)


def _conflict(found: Sequence[Measurement]) -> str:
    """How far the most telling metric's figures lie apart. Rotated and unrotated caches are not held together."""
    for metrics in (DISTANCES, {"perplexity_change"}):
        values = [(it.value, it.model) for it in found if it.metric in metrics and it.rotation != "off" and it.value]
        if len(values) < 2:
            values = [(it.value, it.model) for it in found if it.metric in metrics and it.value]
        if len(values) < 2:
            continue
        least, most = min(values), max(values)
        if least[0] * most[0] < 0 or abs(most[0]) > _CONFLICT_RATIO * abs(least[0]):
            return f"{least[0]:g} on {least[1]}, {most[0]:g} on {most[1]}: it depends on the model"
    return ""


def _family(architecture: str) -> str:
    """llama.cpp's word of an architecture, made of it or of a checkpoint's class ("Qwen3MoeForCausalLM")."""
    word = _CLASS.sub("", architecture).lower().replace("_", "").replace("-", "")
    return word.removesuffix("text").replace("deepseekv", "deepseek")


def _is_model(asked: str, measured: str) -> bool:
    """Whether two names mean the same model: the same size, generation and fine-tune ("Qwen3.6" is not "Qwen3.5")."""
    asked, measured = _spoken(asked), _spoken(measured)
    if asked == measured:
        return True
    sizes = _sizes(asked)
    return bool(sizes) and sizes == _sizes(measured) and _words(asked) == _words(measured)


def _spoken(name: str) -> str:
    """A model's name, out of a path too (a directory, or a snapshot in the cache of Hugging Face)."""
    parts = [part for part in name.split("/") if part]
    hub = next((part for part in parts if part.startswith("models--")), None)
    last = hub.split("--")[-1] if hub is not None else parts[-1] if name.startswith(("/", "~", ".")) and parts else name
    return re.split(r"[,(]", last)[0].strip()


def _sizes(name: str) -> frozenset[str]:
    """The parameter counts in a name ("27b", "30b", "a3b")."""
    text = name.replace("-", " ").replace("_", " ")
    found = {f"{number}{unit.lower()}" for number, unit in _SIZE.findall(text)}
    return frozenset(found | {it.lower() for it in re.findall(r"\b[aAeE]\d+(?:\.\d+)?[bB]\b", text)})


def _words(name: str) -> frozenset[str]:
    """What else tells models apart: family, generation and fine-tune, without sizes and how the weights are stored."""
    words: set[str] = set()
    for piece in re.split(r"[^a-z0-9.]+", _WEIGHTS.sub(" ", name.lower())):
        if not re.fullmatch(r"[ae]?\d+(?:\.\d+)?[bm]", piece):
            words.update(re.findall(r"[a-z]+|\d+(?:\.\d+)?", piece))
    return frozenset(words - _EVERY_MODEL)
