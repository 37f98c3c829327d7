"""Model files and options that no engine would take: what the rules cannot read is unknown, and never a crash."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from kvtop.domain.plan import NoExactRuleError

RANKS_PLANNED = 1024
"""More ranks than anybody has: a number from outside must not become that many devices."""


LAYERS_PLANNED = 65_536
"""More layers, or experts, than any model has: rules go through each of them."""

_COUNT = re.compile(r"(?:^|_)n(?:um)?_\w*(?:layer|expert)|(?:^|_)(?:layer|expert)s$")
"""Names that count them; Gemma's `vocab_size_per_layer_input` does not."""


@contextmanager
def reject_malformed_model(engine: str) -> Iterator[None]:
    """Turn what breaks inside into NoExactRuleError.

    Rules are written for files that an engine would load: one without a tensor of its own architecture, or with a
    shape that contradicts another, has no plan. A dashboard that watches ten servers must not end over the file of one.
    """
    try:
        yield
    except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
        found = f"{type(error).__name__}: {error}"
        words = f"the model file or an option is not what the rules of {engine} expect ({found})"
        raise NoExactRuleError(words) from error


def refuse_endless(config: Mapping[str, object]) -> None:
    """Raise NoExactRuleError for a configuration that counts more layers or experts than there can be."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            refuse_endless(value)
        elif isinstance(value, int | float) and _COUNT.search(name) and not value <= LAYERS_PLANNED:
            raise NoExactRuleError(f"{name} {value} is more than any model has")
