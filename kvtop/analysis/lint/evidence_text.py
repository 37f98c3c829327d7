"""The measurement nearest to a target's model and cache types, as one sentence for a finding's evidence."""

from kvtop.analysis.evidence import DISTANCES, evidence_for
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.answers.evidence import Evidence, Match, Measurement, Tier

_SCALE_ONLY = (Tier.PRIMARY, Tier.VIA, Tier.COMMUNITY)
"""Whose figures of another model are worth showing for scale: not those of a tiny model."""


def evidence_text(target: LintTarget, type_k: str, type_v: str) -> str:
    """What was measured for this pair, with model, source and year; "" where nobody measured it."""
    found = _found(target, type_k, type_v)
    near = next(iter(found.measurements), None)
    if near is not None and near.tier is not Tier.PROJECT:
        what = "measured on this model" if found.match is Match.THIS_MODEL else "nearest measured model"
        return f"{what}: {_figure(near)}"
    if near is not None and found.match is Match.THIS_MODEL:
        return f"measured on this model, which is tiny (for the order of types, not the amount): {_figure(near)}"
    other = next((it for it in found.elsewhere if it.tier in _SCALE_ONLY), None)
    if other is None:
        return ""
    return f"no measurement of this model; for scale: {_figure(other)}" + (
        f"; {found.conflict}" if found.conflict else ""
    )


HARM_NATS = 0.05
"""A divergence a token from which on answers are other answers: 8 bits stay well below it on most models."""


def is_harm_measured(target: LintTarget, type_k: str, type_v: str) -> bool:
    """Whether this pair was measured to move the output of this model, or of one of its family, by `HARM_NATS`."""
    near = next(iter(_found(target, type_k, type_v).measurements), None)
    return near is not None and near.metric in DISTANCES and (near.value or 0) >= HARM_NATS


def _found(target: LintTarget, type_k: str, type_v: str) -> Evidence:
    architecture = target.header.architecture if target.header is not None else ""
    named = target.header.metadata.get("general.name") if target.header is not None else None
    return evidence_for(named if isinstance(named, str) else target.model_name, architecture or "", type_k, type_v)


def _figure(it: Measurement) -> str:
    value = it.text or ("" if it.value is None else f"{it.value:g}{' ' + it.unit if it.unit else ''}")
    metric = it.metric.replace("_", " ")
    rotation = f", rotation {it.rotation}" if it.rotation in {"on", "off"} else ""
    return f"{metric} {value} on {it.model} ({it.source}, {it.year}{rotation})"
