"""Findings for programs and for people."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TypedDict

from kvtop.domain.frame import Finding, NotEvaluated

Clean = Callable[[str], str]
"""Makes a text from outside safe to draw and free of secrets."""

SCHEMA = "kvtop.lint/1"


class LintFindingJson(TypedDict):
    """What a rule found: `severity` is "info", "warning" or "error"; "" where a rule has nothing to say."""

    code: str
    slug: str
    severity: str
    subject: str
    message: str
    evidence: str
    cost: str
    fix: str


class NotEvaluatedJson(TypedDict):
    """A rule that lacks an input: it never counts as passed."""

    code: str
    slug: str
    subject: str
    reason: str


class LintJson(TypedDict):
    """Findings with the most severe first, and the rules that could not be asked."""

    schema: str
    findings: list[LintFindingJson]
    not_evaluated: list[NotEvaluatedJson]


def findings_json(findings: Iterable[Finding], missing: Iterable[NotEvaluated], clean: Clean) -> str:
    """Findings and the rules that could not be asked, schema `kvtop.lint/1`; keys are only ever added."""
    document = LintJson(
        schema=SCHEMA,
        findings=[
            LintFindingJson(
                code=it.code,
                slug=it.slug,
                severity=it.severity,
                subject=clean(it.subject),
                message=clean(it.message),
                evidence=clean(it.evidence),
                cost=clean(it.cost),
                fix=clean(it.fix),
            )
            for it in findings
        ],
        not_evaluated=[
            NotEvaluatedJson(code=it.code, slug=it.slug, subject=clean(it.subject), reason=clean(it.reason))
            for it in missing
        ],
    )
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def findings_text(
    findings: Sequence[Finding],
    missing: Sequence[NotEvaluated],
    suppressed: Sequence[tuple[Finding, str]],
    clean: Clean,
) -> str:
    """A paragraph a finding, then the rules that could not be asked, by reason, then what was suppressed and why."""
    lines: list[str] = []
    for subject in dict.fromkeys([it.subject for it in findings] + [it.subject for it in missing]):
        lines.append(clean(subject))
        for it in findings:
            if it.subject != subject:
                continue
            lines.append(f"  {it.severity}: {it.slug} ({it.code})")
            named = (("", it.message), ("evidence: ", it.evidence), ("cost: ", it.cost), ("fix: ", it.fix))
            lines += [f"    {name}{clean(text)}" for name, text in named if text]
        for reason in dict.fromkeys(it.reason for it in missing if it.subject == subject):
            slugs = ", ".join(it.slug for it in missing if (it.subject, it.reason) == (subject, reason))
            lines += [f"  not evaluated: {clean(reason)}", f"    {slugs}"]
    lines += [f"suppressed: {it.slug} of {clean(it.subject)}: {clean(reason)}" for it, reason in suppressed]
    counts = ", ".join(_count(findings, severity) for severity in ("error", "warning", "info"))
    lines.append(f"{counts}; {len(missing)} not evaluated")
    return "\n".join(lines) + "\n"


def _count(findings: Sequence[Finding], severity: str) -> str:
    number = sum(it.severity == severity for it in findings)
    return f"{number} {severity}" + ("s" if number != 1 and severity != "info" else "")
