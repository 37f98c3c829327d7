"""Many recorded cases in one test, whose failure names every case that differs and what differs in it.

Thousands of tests of a millisecond cost more to collect and to send between processes than to run, and a loop of
asserts hides every failure but the first. `pytest --case TEXT` keeps the cases whose id contains it.
"""

import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import pytest

CaseT = TypeVar("CaseT")
Answer = tuple[str, object, object]
"""What was compared, what kvtop says, what was recorded."""
CASES_IN_FULL = 40
"""How many cases are printed with their values; all others with their id and what differs in them."""
ANSWERS_IN_FULL = 8
_VALUE_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class EveryCase:
    """Compares every case of a group. `chosen` is the text of `--case`, "" for all."""

    chosen: str = ""

    def __call__(self, cases: Mapping[str, CaseT], answers: Callable[[CaseT], Iterable[Answer]]) -> None:
        """Ask `answers` for each case, by its id. An exception in a case is a difference of that case alone."""
        asked = {name: case for name, case in cases.items() if self.chosen in name}
        if cases and not asked:
            pytest.skip(f"--case: none of these contains {self.chosen}")
        assert asked, "a group without a case compares nothing"
        found = {name: _differences(case, answers) for name, case in asked.items()}
        differing = {name: differences for name, differences in found.items() if differences}
        if differing:
            pytest.fail(report(differing, len(asked)), pytrace=False)


def grouped(rows: Iterable[tuple[str, str, CaseT]]) -> dict[str, dict[str, CaseT]]:
    """Group, then id, then case. Raises ValueError where two cases of a group have one id: one would be lost."""
    groups: dict[str, dict[str, CaseT]] = {}
    for group, name, case in rows:
        if name in groups.setdefault(group, {}):
            raise ValueError(f"two cases of {group} are called {name}")
        groups[group][name] = case
    return groups


def report(differing: Mapping[str, list[Answer]], total: int) -> str:
    """Every id with what differs, the first cases with their values."""
    counts = Counter(key for differences in differing.values() for key, _, _ in differences)
    lines = [f"{len(differing)} of {total} cases differ"]
    lines += [f"in {key}: {count}" for key, count in counts.most_common(20)]
    for name, differences in list(differing.items())[:CASES_IN_FULL]:
        lines.append(name)
        for key, ours, due in differences[:ANSWERS_IN_FULL]:
            lines.append(f"  {key}: {_short(ours)}, recorded {_short(due)}")
        if len(differences) > ANSWERS_IN_FULL:
            lines.append(f"  and {', '.join(key for key, _, _ in differences[ANSWERS_IN_FULL:])}")
    rest = list(differing.items())[CASES_IN_FULL:]
    if rest:
        brief = ", ".join(f"{name} ({' '.join(key for key, _, _ in differences)})" for name, differences in rest)
        lines += [f"and {len(rest)} more:", *textwrap.wrap(brief, 118, break_long_words=False, break_on_hyphens=False)]
    return "\n".join(lines)


def _differences(case: CaseT, answers: Callable[[CaseT], Iterable[Answer]]) -> list[Answer]:
    found = []
    try:
        for key, ours, due in answers(case):
            if ours != due:
                found.append((key, ours, due))
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001  # whatever it is, it is told of this case
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where is not None else ""
        found.append((type(error).__name__, f"{error} at {place}", "an answer"))
    return found


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _VALUE_CHARACTERS else f"{text[:_VALUE_CHARACTERS]}… ({len(text)} characters)"
