"""The patterns of `--override-tensor`, matched in bounded time: anybody on the machine may type one.

llama.cpp matches with `std::regex_search`. Python's engine tries every way in which the repetitions of a pattern can
share a text, so that a nested one takes longer than anybody waits. Such a pattern has no plan.
"""

import re
import warnings
from collections.abc import Iterable, Sequence
from functools import lru_cache
from re import _constants, _parser  # type: ignore[attr-defined]  # how Python reads a pattern, 3.11 to 3.14
from typing import Any

from kvtop.domain.plan import NoExactRuleError

NAME_CHARACTERS = 64
"""`GGML_MAX_NAME`: no tensor has a longer name."""
PATTERN_CHARACTERS = 4096
WAYS_MOST = 2 * NAME_CHARACTERS**2
"""Ways to go through one name from one place: about two repetitions of any length beside a few alternatives."""

_ANYWHERE = re.compile(r"^(?:\^?\.\*\??)+(?=.)|(?<!\\)(?:\.\*\??\$?)+$")
"""A search begins and ends anywhere by itself."""

_ONE = frozenset({_constants.LITERAL, _constants.NOT_LITERAL, _constants.ANY, _constants.IN})
_REPEATS = frozenset({_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT})
_ENDLESS = WAYS_MOST + 1


def searcher(patterns: Sequence[str]) -> "re.Pattern[str]":
    """A pattern that finds what any of these finds.

    Raises NoExactRuleError for one that is no regular expression of Python's, or could take for ever.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what another Python may read otherwise is nothing to a person
            plain = [_ANYWHERE.sub("", pattern) or "(?:)" for pattern in patterns]
            for pattern in plain:
                if len(pattern) > PATTERN_CHARACTERS or ways(_parser.parse(pattern)) > WAYS_MOST:
                    raise NoExactRuleError(
                        f"the tensor override {pattern[:60]!r} repeats in more ways than kvtop follows"
                    )
            return re.compile("|".join(f"(?:{pattern})" for pattern in plain))
    except (re.error, RecursionError, OverflowError) as error:
        raise NoExactRuleError(
            f"kvtop cannot read the tensor override {', '.join(patterns)[:60]!r}: {error}"
        ) from error


def ways(parsed: Iterable[tuple[Any, Any]]) -> int:
    """How many ways there are to go through a name with this part of a pattern, at most."""
    product = 1
    for kind, argument in parsed:
        product *= _ways_of(kind, argument)
        if product > WAYS_MOST:
            return _ENDLESS
    return product


def _ways_of(kind: Any, argument: Any) -> int:  # noqa: ANN401  what Python's parser gives has no types
    if kind in _REPEATS:
        low, high, inner = int(argument[0]), min(int(argument[1]), NAME_CHARACTERS), argument[2]
        if len(inner) == 1 and inner[0][0] in _ONE:
            return max(high - low, 0) + 1
        if high <= 1:
            return ways(inner) + 1 - low
        return _ENDLESS
    if kind is _constants.BRANCH:
        return _ways_of_alternatives(argument[1])
    if kind is _constants.SUBPATTERN:
        return ways(argument[3])
    return 1 if kind in _ONE or kind is _constants.AT else _ENDLESS


def _ways_of_alternatives(alternatives: Sequence[Any]) -> int:
    """Words are alternatives at one place only where one begins with the other; anything else counts each."""
    words = [
        "".join(chr(argument) for kind, argument in word)
        for word in alternatives
        if all(kind is _constants.LITERAL for kind, _ in word)
    ]
    if len(words) < len(alternatives):
        return sum(ways(alternative) for alternative in alternatives)
    return max(sum(word.startswith(other) for other in words) for word in words)


_BLOCK = re.compile(r"blk\\\.(\d{1,5})\\\.(.+)")
_PARTS = frozenset(
    {
        *(r"ffn_(up|down|gate_up|gate)_(ch|)exps", r"ffn_(up|down|gate|gate_up)_(ch|)exps", r"ffn_(up|down|gate)\."),
        *(r"ffn_(gate|up|gate_up|down).*", r"ffn_(gate|gate_up|down).*", r"ffn_down.*"),
    }
)
"""What llama.cpp itself writes behind a block: `--fit`, `--n-cpu-moe`, `--n-cpu-ffn`."""


def rules_by_block(rules: Sequence[tuple[str, str]]) -> dict[int, list[tuple[str, str]]] | None:
    """Rules that the engine itself writes, by the one block that each is about; None where some rule is another's.

    There are as many of them as a model has blocks: trying each on every tensor takes longer than the rest of a plan.
    """
    found: dict[int, list[tuple[str, str]]] = {}
    for pattern, device in rules:
        match = _BLOCK.fullmatch(pattern)
        if match is None or match[2] not in _PARTS:
            return None
        found.setdefault(int(match[1]), []).append((match[2], device))
    return found


def first_of_block(rules: Iterable[tuple[str, str]], name: str) -> str | None:
    """What belongs to the first of these that is found at the beginning of a tensor's name without its block."""
    return next((device for part, device in rules if _begins(part, name)), None)


@lru_cache(maxsize=4096)
def _begins(part: str, name: str) -> bool:
    return re.match(part, name) is not None


def first_match(searchers: Iterable[tuple["re.Pattern[str]", str]], name: str) -> str | None:
    """What belongs to the first of these patterns that is found in `name`."""
    return next((device for pattern, device in searchers if pattern.search(name[:NAME_CHARACTERS])), None)
