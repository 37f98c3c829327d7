"""A Comparison as JSON, schema `kvtop.diff/1`. Names are a contract: within a version they are only added to."""

import json
from datetime import UTC, datetime

from kvtop.domain.answers.comparison import Comparison, HostState

SCHEMA = "kvtop.diff/1"


def diff_json(comparison: Comparison) -> str:
    """Indented JSON with a final newline; null is unknown or absent."""
    document = {
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


def _side(side: HostState) -> dict[str, str | None]:
    time = None if side.taken_at is None else datetime.fromtimestamp(side.taken_at, UTC).isoformat()
    return {"name": side.name, "host": side.host, "taken_at": time}
