"""Findings for programs and for people."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

from kvtop.domain.frame import Finding, NotEvaluated

Clean = Callable[[str], str]
"""Makes a text from outside safe to draw and free of secrets."""

_KEYS = ("code", "slug", "severity", "subject", "message", "evidence", "cost", "fix")


def findings_json(findings: Iterable[Finding], missing: Iterable[NotEvaluated], clean: Clean) -> str:
    """`{"findings": [...], "not_evaluated": [...]}`; keys are only ever added."""
    document = {
        "findings": [{key: clean(str(getattr(it, key))) for key in _KEYS} for it in findings],
        "not_evaluated": [{key: clean(str(value)) for key, value in asdict(it).items()} for it in missing],
    }
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
