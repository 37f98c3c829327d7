"""Options of programs that read their command line by argparse, as they are typed."""

from collections.abc import Sequence

from kvtop.domain.launch import LaunchOptions


def option_words(changes: Sequence[tuple[str, str | None]]) -> tuple[str, ...]:
    """The changed options alone, in the long spelling; all of them take one value."""
    return tuple(word for name, value in changes if value is not None for word in (f"--{name}", value))


def without_options(argv: Sequence[str], base: LaunchOptions, names: set[str]) -> list[str]:
    """By the flags as they were typed, with `=` or without; all these options take one value."""
    typed = {option.detail for option in base.options if option.name in names and option.detail.startswith("--")}
    kept: list[str] = []
    skips = False
    for word in argv:
        if skips:
            skips = False
            continue
        flag, equals, _ = word.partition("=")
        if flag in typed:
            skips = not equals
            continue
        kept.append(word)
    return kept
