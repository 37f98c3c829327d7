"""SARIF 2.1.0 (OASIS), as code scanning reads it: findings as results, rules not asked as notifications."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from kvtop import __version__
from kvtop.domain.frame import Finding, NotEvaluated

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"error": "error", "warning": "warning", "info": "note"}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A rule as SARIF describes it."""

    code: str
    slug: str
    title: str
    page: str


def sarif_text(
    findings: Iterable[Finding],
    missing: Iterable[NotEvaluated],
    rules: Sequence[Descriptor],
    clean: Callable[[str], str],
    script: tuple[str, int] | None = None,
) -> str:
    """One run. A result's place is the subject, and the line of the `script` that the command stands in, if named."""
    numbers = {rule.code: index for index, rule in enumerate(rules)}
    run = {
        "tool": {
            "driver": {
                "name": "kvtop",
                "version": __version__,
                "rules": [
                    {
                        "id": rule.code,
                        "name": rule.slug,
                        "shortDescription": {"text": rule.title},
                        "fullDescription": {"text": rule.page},
                    }
                    for rule in rules
                ],
            }
        },
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [
                    {
                        "level": "note",
                        "message": {"text": clean(f"not evaluated: {it.reason}")},
                        "associatedRule": {"id": it.code, "index": numbers[it.code]},
                    }
                    for it in missing
                ],
            }
        ],
        "results": [_result(it, numbers[it.code], clean, script) for it in findings],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _result(it: Finding, number: int, clean: Callable[[str], str], script: tuple[str, int] | None) -> dict[str, object]:
    place: dict[str, object] = {"logicalLocations": [{"fullyQualifiedName": clean(it.subject), "kind": "resource"}]}
    if script is not None:
        place["physicalLocation"] = {"artifactLocation": {"uri": quote(script[0])}, "region": {"startLine": script[1]}}
    parts = (it.message, it.cost and f"Cost: {it.cost}", it.fix and f"Fix: {it.fix}")
    return {
        "ruleId": it.code,
        "ruleIndex": number,
        "level": _LEVELS[it.severity],
        "message": {"text": clean(". ".join(part for part in parts if part))},
        "locations": [place],
        "partialFingerprints": {"kvtop/1": f"{it.code}:{clean(it.subject)}"},
        "properties": {"evidence": clean(it.evidence), "slug": it.slug},
    }
