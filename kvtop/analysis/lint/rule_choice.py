"""Which rules a person wants to hear of: `kvtop lint --select` and `--ignore`, and the `[lint]` table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kvtop.analysis.lint.linting import find_rule
from kvtop.analysis.lint.result import LintResult
from kvtop.analysis.lint.rules import RULES


@dataclass(frozen=True, slots=True)
class RuleChoice:
    """Codes of rules: only those of `select` (empty: all), without those of `ignore`."""

    select: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()

    def covers(self, code: str) -> bool:
        """Whether the person wants that rule."""
        return (not self.select or code in self.select) and code not in self.ignore

    def of(self, result: LintResult, engines: Sequence[str]) -> LintResult:
        """What the chosen rules said of targets that run these `engines`, one for each."""
        if not self.select and not self.ignore:
            return result
        missing = tuple(it for it in result.not_evaluated if self.covers(it.code))
        concerned = sum(
            self.covers(rule.code) and (not rule.module.ENGINES or engine in rule.module.ENGINES)
            for engine in engines
            for rule in RULES
        )
        return LintResult(
            findings=tuple(it for it in result.findings if self.covers(it.code)),
            not_evaluated=missing,
            suppressed=tuple(it for it in result.suppressed if self.covers(it[0].code)),
            asked=min(result.asked, max(concerned - len(missing), 0)),
        )


def rule_codes(words: Iterable[str]) -> frozenset[str]:
    """The codes of rules that are named by code or slug, several in one word with commas.

    Raises KeyError whose text names what is not a rule, and what was probably meant.
    """
    names = (name.strip() for word in words for name in word.split(","))
    return frozenset(find_rule(name).code for name in names if name)
