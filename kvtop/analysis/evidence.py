"""Quality figures by model and pair of cache types, with their provenance; the figures are in evidence.toml."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files

from kvtop.domain.evidence import Evidence, Match, Measurement, Tier

METRICS = (
    "kl_divergence",
    "kl_divergence_top40",
    "median_kl_divergence",
    "same_top_token",
    "ln_perplexity_ratio",
    "perplexity_change",
)
"""What says how far outputs move, the most telling first; perplexity hides small damage (facts: 8-bit rows)."""

_TIERS = tuple(Tier)
_DISTANCES = frozenset({"kl_divergence", "kl_divergence_top40", "median_kl_divergence"})
_CONFLICT_RATIO = 3.0
_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", re.IGNORECASE)
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
        raise ValueError("evidence: 'figure' must be a list of tables")
    return tuple(_measurement(number, row) for number, row in enumerate(rows, 1))


def _measurement(number: int, row: Mapping[str, object]) -> Measurement:
    def word(key: str, default: str | None = None) -> str:
        value = row.get(key, default)
        if not isinstance(value, str):
            raise ValueError(f"evidence: figure {number}: {key!r} must be a word")
        return value

    value, architectures, year = row.get("value"), row.get("architectures", []), row.get("year")
    if not isinstance(architectures, list) or not isinstance(year, int):
        raise ValueError(f"evidence: figure {number}: 'architectures' must be a list and 'year' a number")
    if value is not None and not isinstance(value, int | float):
        raise ValueError(f"evidence: figure {number}: 'value' must be a number")
    return Measurement(
        model=word("model"),
        architectures=tuple(str(it) for it in architectures),
        type_k=word("type_k"),
        type_v=word("type_v"),
        rotation=word("rotation", "unknown"),
        metric=word("metric"),
        value=None if value is None else float(value),
        text=word("text", ""),
        unit=word("unit", ""),
        baseline=word("baseline", ""),
        source=word("source"),
        url=word("url", ""),
        year=year,
        tier=Tier(word("tier")),
        note=word("note", ""),
        contradicted=word("contradicted", ""),
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
    near = tuple(it for it in chosen if it.model == named)
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
    for metrics in (_DISTANCES, {"perplexity_change"}):
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
    return architecture.lower().replace("_", "").replace("-", "").removesuffix("text")


def _is_model(asked: str, measured: str) -> bool:
    """Whether two names mean the same model: its family's words are checked by architecture, its size here."""
    if asked == measured:
        return True
    sizes_asked, sizes_measured = _sizes(asked), _sizes(measured)
    return bool(sizes_asked) and sizes_asked == sizes_measured


def _sizes(name: str) -> frozenset[str]:
    """The parameter counts in a name ("27b", "30b", "a3b")."""
    text = name.replace("-", " ").replace("_", " ").split(",")[0]
    found = {f"{number}{unit.lower()}" for number, unit in _SIZE.findall(text)}
    return frozenset(found | {it.lower() for it in re.findall(r"\b[aAeE]\d+(?:\.\d+)?[bB]\b", text)})
