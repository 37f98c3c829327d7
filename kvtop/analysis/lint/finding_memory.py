"""What the rules said of running servers, kept from tick to tick."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kvtop.analysis.lint.result import FixMemory, LintResult, Suppression
from kvtop.domain.server import ServerReading

_Key = tuple[object, ...]
_Activity = tuple[object, ...]


@dataclass(slots=True)
class FindingMemory:
    """By server: what the unchanging rules said and of what; and since when nothing has moved."""

    suppressions: tuple[Suppression, ...] = ()
    settled: dict[str, tuple[_Key, LintResult]] = field(default_factory=dict)
    fixes: FixMemory = field(default_factory=dict)
    still: dict[str, tuple[_Activity, float]] = field(default_factory=dict)

    def forget_all_but(self, readings: Mapping[str, ServerReading]) -> None:
        """Servers that are gone leave nothing behind."""
        self.settled = {name: value for name, value in self.settled.items() if name in readings}
        self.fixes = {name: value for name, value in self.fixes.items() if name[0] in readings}
        self.still = {name: value for name, value in self.still.items() if name in readings}
