"""Command lines of engines whose options kvtop only shows: named flags are kept, everything else loses its value."""

from collections.abc import Mapping, Sequence

from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.planning.commands.tolerant_argparse import without_values
from kvtop.sources.redaction.redact import clean_value
from kvtop.text import PORT_MAX, plain_number


def parse_named(
    engine: str, words: Sequence[str], values: Mapping[str, str], switches: Mapping[str, str] | None = None
) -> LaunchOptions:
    """Options by their spelling: `values` take the next word (or `=`), `switches` none; both map to canonical names.

    Underscores count as dashes. Words of other options are dropped, since they may be secrets.
    """
    found: dict[str, LaunchOption] = {}
    unknown: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        typed, equals, value = word.partition("=")
        flag = typed.replace("_", "-") if typed.startswith("--") else typed
        if switches is not None and flag in switches:
            found[switches[flag]] = LaunchOption(switches[flag], "true", Origin.ARGV, typed)
        elif flag in values:
            if not equals:
                value = rest.pop(0) if rest else ""
            name = values[flag]
            found[name] = LaunchOption(name, clean_value(name, value), Origin.ARGV, typed)
        elif typed.startswith("-"):
            unknown.append(without_values([typed]))
    return LaunchOptions(engine, tuple(found.values()), tuple(unknown))


def port_in(options: LaunchOptions, default: int, name: str = "port") -> int | None:
    """The port that the option says, or the engine's default; None for a number that no port has.

    A text that is no number is left to the engine, which does not start with it.
    """
    value = options.value(name)
    if value is None or not value.isascii() or not value.isdigit():
        return default
    return plain_number(value, PORT_MAX)
