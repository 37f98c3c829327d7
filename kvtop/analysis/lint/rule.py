"""What a rule is and what it answers: the words shared by the rules and by what asks them."""

from dataclasses import dataclass
from typing import Protocol

from kvtop.analysis.lint.fixes.fix import Way
from kvtop.analysis.lint.observed import Observed
from kvtop.analysis.lint.target import LintTarget


@dataclass(frozen=True, slots=True)
class Found:
    """The rule fires. `severity` is one of SEVERITIES; `cost` in bytes or tokens where it can be computed."""

    severity: str
    message: str
    evidence: str = ""
    cost: str = ""
    fix: str | tuple[Way, ...] = ""
    """In words, or as ways out of which those are printed that end the finding and fit by their plan."""
    otherwise: str = ""
    """Words where none of the ways does."""


@dataclass(frozen=True, slots=True)
class Lacks:
    """The rule matters here but cannot be asked: `reason` names the input that is missing."""

    reason: str


Outcome = Found | Lacks | None
"""None: the rule was asked and has nothing to say, or it does not concern this engine."""


@dataclass(frozen=True, slots=True)
class Example:
    """A case of the documentation and of the tests.

    `model` names a recorded model of the tests; in `command` it stands as MODEL, a draft model as DRAFT. `gpus` are
    SPECs of `--gpu`; without them nobody knows the devices.
    """

    command: str
    gpus: tuple[str, ...] = ()
    model: str = ""
    draft: str = ""
    environ: tuple[tuple[str, str], ...] = ()
    observed: Observed | None = None
    version: str | None = None
    host_total_bytes: int | None = None


class RuleModule(Protocol):
    """A file of `analysis/lint/rules`. Its docstring is the documentation page.

    `ENGINES` are those that it concerns, () is any. `FIRES` and `QUIET` are the scenarios of its test. `READS_LAUNCH`:
    without launch options there is nothing to ask.
    """

    __doc__: str | None
    __name__: str
    ENGINES: tuple[str, ...]
    READS_LAUNCH: bool
    FIRES: Example
    QUIET: Example

    def check(self, target: LintTarget, /) -> Outcome:
        """What the rule says of this target."""
        ...


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the list. `code` is never reused. `changes`: it reads what moves from tick to tick.

    `enough`: options that a rule needs no others beside, so that an endpoint that states them is enough.
    """

    code: str
    module: RuleModule
    changes: bool = False
    enough: frozenset[str] = frozenset()

    @property
    def slug(self) -> str:
        """Its name: the file's, with dashes."""
        return self.module.__name__.rpartition(".")[2].replace("_", "-")

    @property
    def page(self) -> str:
        """Its documentation."""
        return (self.module.__doc__ or "").strip()

    @property
    def title(self) -> str:
        """The first line of its documentation."""
        return self.page.partition("\n")[0].rstrip(".")
