"""What was meant by words that argparse refuses: the rest of them, so that one wrong option hides no other."""

import argparse
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

Parsed = TypeVar("Parsed")


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
