"""What the rules said, and what a person has decided against: values alone, which load no rules."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvtop.domain.frame import Finding, NotEvaluated

if TYPE_CHECKING:
    from kvtop.analysis.lint.rule import Rule


SEVERITIES = ("info", "warning", "error")
"""From worth knowing, over what costs memory, speed or quality, to what will not start or loses requests."""


FixMemory = dict[tuple[str, str], tuple[Hashable, str]]
"""By target and rule: of what a fix was printed, and the fix."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """What a person has decided against: a rule (code or slug), a server's findings, or both; `reason` is shown."""

    rule: str | None
    reason: str
    server: str | None = None

    def covers(self, rule: "Rule", subject_name: str) -> bool:
        """Whether it silences that rule about that subject."""
        return self.rule in {None, rule.code, rule.slug} and self.server in {None, subject_name}


@dataclass(frozen=True, slots=True)
class LintResult:
    """Everything the rules said. `suppressed` are findings with the reason why they are not among `findings`.

    `asked` counts the rules that could be asked, whatever they answered.
    """

    findings: tuple[Finding, ...] = ()
    not_evaluated: tuple[NotEvaluated, ...] = ()
    suppressed: tuple[tuple[Finding, str], ...] = ()
    asked: int = 0

    def __add__(self, other: "LintResult") -> "LintResult":
        return LintResult(
            self.findings + other.findings,
            self.not_evaluated + other.not_evaluated,
            self.suppressed + other.suppressed,
            self.asked + other.asked,
        )

    def at_least(self, severity: str) -> tuple[Finding, ...]:
        """The findings of that severity or above it."""
        least = SEVERITIES.index(severity)
        return tuple(it for it in self.findings if SEVERITIES.index(it.severity) >= least)
