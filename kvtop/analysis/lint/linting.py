"""Asks every rule about a target. Pure: what was suppressed, and why, is a value too."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from kvtop.analysis.lint.printed_fixes import printed_fix, remembered_fix
from kvtop.analysis.lint.result import SEVERITIES, FixMemory, LintResult, Suppression
from kvtop.analysis.lint.rule import Found, Lacks, Rule
from kvtop.analysis.lint.rules import RULES
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.frame import Finding, NotEvaluated
from kvtop.domain.launch import LaunchOptions
from kvtop.text import did_you_mean


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The worst first, else in the order of their codes."""
    return tuple(sorted(findings, key=lambda it: (-SEVERITIES.index(it.severity), it.code)))


def lint(
    target: LintTarget,
    suppressions: Sequence[Suppression] = (),
    *,
    changing: bool | None = None,
    fixes: FixMemory | None = None,
) -> LintResult:
    """Ask every rule that concerns the target's engine; findings with the worst first.

    `changing`: only the rules that read what moves from tick to tick (True), or only the others (False). `fixes`: those
    that were printed of this target before.
    """
    findings: list[Finding] = []
    missing: list[NotEvaluated] = []
    suppressed: list[tuple[Finding, str]] = []
    asked = 0
    for rule in RULES:
        module = rule.module
        if (module.ENGINES and target.engine not in module.ENGINES) or changing is (not rule.changes):
            continue
        outcome: Found | Lacks | None
        if module.READS_LAUNCH and (target.launch is None or _lacks_settings(rule, target)):
            told = _as_stated(rule, target)
            outcome = Lacks("the launch options of this server are unknown") if told is None else module.check(told)
        else:
            outcome = module.check(target)
        if isinstance(outcome, Lacks):
            missing.append(NotEvaluated(rule.code, rule.slug, target.name, _one_line(outcome.reason)))
            continue
        asked += 1
        if outcome is None:
            continue
        told_fix = printed_fix if fixes is None else partial(remembered_fix, fixes)
        finding = _finding(rule, target, outcome, told_fix(rule, target, outcome))
        reason = next((it.reason for it in suppressions if it.covers(rule, target.name)), None)
        if reason is None:
            findings.append(finding)
        else:
            suppressed.append((finding, reason))
    return LintResult(ordered(findings), tuple(missing), tuple(suppressed), asked)


def _as_stated(rule: Rule, target: LintTarget) -> LintTarget | None:
    """With what the endpoint states for its launch, where that is all that the rule needs."""
    if not rule.enough or target.launch is not None or not rule.enough <= {it.name for it in target.stated}:
        return None
    return replace(target, launch=LaunchOptions(target.engine, target.stated))


def _lacks_settings(rule: Rule, target: LintTarget) -> bool:
    reads_settings = target.traits.has_typed_settings and (target.engine,) == rule.module.ENGINES
    return reads_settings and target.settings is None


def _finding(rule: Rule, target: LintTarget, found: Found, fix: str) -> Finding:
    return Finding(
        code=rule.code,
        slug=rule.slug,
        severity=found.severity,
        subject=target.name,
        message=_one_line(found.message),
        evidence=_one_line(found.evidence),
        fix=_one_line(fix),
        cost=_one_line(found.cost),
    )


def _one_line(text: str) -> str:
    """Engines complain in several lines."""
    return " ".join(text.split())


def find_rule(name: str) -> Rule:
    """The rule of that code or slug. Raises KeyError whose text says what was probably meant."""
    for rule in RULES:
        if name.lower() in {rule.code.lower(), rule.slug}:
            return rule
    meant = did_you_mean(name, [word for rule in RULES for word in (rule.slug, rule.code)])
    raise KeyError(f"no rule {name!r}{meant} (`kvtop explain` lists them)")


def unknown_rules(suppressions: Iterable[Suppression]) -> tuple[str, ...]:
    """Names in suppressions that are no rule's."""
    known = {name for rule in RULES for name in (rule.code, rule.slug)}
    return tuple(it.rule for it in suppressions if it.rule is not None and it.rule not in known)
