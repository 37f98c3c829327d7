"""A Comparison as JSON, schema `kvtop.diff/1`. Names are a contract: within a version they are only added to."""

import json
from datetime import UTC, datetime
from typing import TypedDict

from kvtop.domain.answers.comparison import Comparison, HostState

SCHEMA = "kvtop.diff/1"


class SideJson(TypedDict):
    """One side: what was typed, its host, and when it was measured (null for a plan)."""

    name: str
    host: str
    taken_at: str | None


class DifferenceJson(TypedDict):
    """One thing that is not the same; a value is null where that side lacks it or does not know it.

    `counts` is false within the tolerance, where a side is unknown, and for what `moves_by_itself`.
    """

    topic: str
    subject: str
    what: str
    a: str | float | None
    b: str | float | None
    unit: str
    ratio: float | None
    counts: bool
    moves_by_itself: bool
    cause: str


class DiffJson(TypedDict):
    """All differences of two sides."""

    schema: str
    a: SideJson
    b: SideJson
    tolerance_ratio: float
    differs: bool
    differences: list[DifferenceJson]


def diff_json(comparison: Comparison) -> str:
    """Indented JSON with a final newline; null is unknown or absent."""
    document: DiffJson = {
        "schema": SCHEMA,
        "a": _side(comparison.before),
        "b": _side(comparison.after),
        "tolerance_ratio": comparison.tolerance_ratio,
        "differs": comparison.differs,
        "differences": [
            {
                "topic": it.topic.value,
                "subject": it.subject,
                "what": it.what,
                "a": it.before,
                "b": it.after,
                "unit": it.unit,
                "ratio": it.ratio,
                "counts": it.counts,
                "moves_by_itself": it.moves_by_itself,
                "cause": it.cause,
            }
            for it in comparison.differences
        ],
    }
    # ASCII only: control and bidi characters of foreign names stay escapes.
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def _side(side: HostState) -> SideJson:
    time = None if side.taken_at is None else datetime.fromtimestamp(side.taken_at, UTC).isoformat()
    return {"name": side.name, "host": side.host, "taken_at": time}
