"""One rule in which two versions of an engine differ."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VersionChange:
    """`name` is the rule's own, for `LaunchOptions.borrowed_rules`; `words` say what it was and is, and `source` where
    that is known from: a pull request, or the builds between which it changed."""

    name: str
    words: str
    source: str

    def __str__(self) -> str:
        return f"{self.words} ({self.source})" if self.source else self.words
