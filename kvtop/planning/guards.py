"""Bounds of what is planned: a number of a stranger's file or option must not become that much work."""

import re
from collections.abc import Mapping

from kvtop.domain.plan import MalformedModelError, NoExactRuleError
from kvtop.text import plain_number

RANKS_PLANNED = 1024
"""More ranks than anybody has: a number from outside must not become that many devices."""

LAYERS_PLANNED = 4096
"""More layers, or experts, than any model has: rules go through each of them."""

_COUNT = re.compile(r"(?:^|_)n(?:um)?_\w*(?:layer|expert)|(?:^|_)(?:layer|expert)s$")
"""Names that count them; Gemma's `vocab_size_per_layer_input` does not."""


def whole_option(value: str | None) -> int | None:
    """The number that an option holds; None where it is not given.

    Raises NoExactRuleError for a text that no parser of an engine lets through: options of a recording may be anything.
    """
    if value is None:
        return None
    number = plain_number(value.removeprefix("-"))
    if number is None:
        raise NoExactRuleError(f"an option holds {value[:40]!r} where its engine reads a number")
    return -number if value.startswith("-") else number


def refuse_endless(config: Mapping[str, object]) -> None:
    """Raise MalformedModelError for a configuration that counts more layers or experts than there can be."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            refuse_endless(value)
        elif isinstance(value, int | float) and _COUNT.search(name) and not value <= LAYERS_PLANNED:
            raise MalformedModelError(f"{name} {value} is more than any model has")
