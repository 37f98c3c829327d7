"""What was meant by words that argparse refuses: the rest of them, so that one wrong option hides no other."""

import argparse
import re
from collections.abc import Callable, Collection, Sequence
from typing import NoReturn, TypeVar

Parsed = TypeVar("Parsed")


_NAME = re.compile(r"--[A-Za-z][\w.-]*|-[A-Za-z][a-z]{0,4}")
"""What a name of an option looks like. Anything longer behind one dash may be a value glued to a name (`-pSECRET`)."""
_PLAIN = re.compile(r"-?\d{1,15}(?:\.\d{1,9})?|true|false|on|off|auto|none", re.IGNORECASE)


def without_values(words: Sequence[str]) -> str:
    """Words that no option takes, for a complaint: names, numbers and switches stay; another word may be a secret."""
    return " ".join(_without_value(word) for word in words)


def _without_value(word: str) -> str:
    name = word.partition("=")[0]
    if word.startswith("-") and _PLAIN.fullmatch(word) is None:
        return name if _NAME.fullmatch(name) else f"{name[:2]}***"
    return word if _PLAIN.fullmatch(word) else "***"


def without_options(words: Sequence[str], names: Collection[str]) -> list[str]:
    """The words without the options of these spellings and the words behind each, as far as they may be its values."""
    kept: list[str] = []
    is_value = False
    for word in words:
        name, equals, _ = word.partition("=")
        if word.startswith("-") and len(word) > 1:
            is_value = name in names and not equals
            if name in names:
                continue
        elif is_value:
            continue
        kept.append(word)
    return kept


class CommandLineError(Exception):
    """argparse's complaint about the command line."""


class RaisingParser(argparse.ArgumentParser):
    """A parser that raises CommandLineError where argparse would print and exit."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting."""
        raise CommandLineError(message)


def parsed_as_meant(
    parse: Callable[[list[str]], Parsed], words: Sequence[str]
) -> tuple[Parsed | None, tuple[str, ...]]:
    """What `parse` makes of the words without those that it raises CommandLineError for; and the first complaint.

    The program itself ends at the first, so there is never more than one. None where no part can be left out.
    """
    kept, complaints = list(words), list[str]()
    while True:
        try:
            return parse(kept), tuple(complaints[:1])
        except CommandLineError as error:
            complaints.append(str(error))
            shorter = _without_refused(parse, kept, str(error))
            if shorter is None:
                return None, tuple(complaints[:1])
            kept = shorter


def _without_refused(parse: Callable[[list[str]], Parsed], words: list[str], complaint: str) -> list[str] | None:
    """The words without the first option, and what follows it, whose absence changes the complaint."""
    starts = [index for index, word in enumerate(words) if word.startswith("-")]
    for start, end in zip(starts, [*starts[1:], len(words)], strict=True):
        trial = words[:start] + words[end:]
        try:
            parse(trial)
        except CommandLineError as error:
            if str(error) == complaint:
                continue
        return trial
    return None
