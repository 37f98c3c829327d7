"""How a server was started, and where each option was learnt."""

from dataclasses import dataclass
from enum import StrEnum


class Origin(StrEnum):
    """Where a fact was learnt."""

    ARGV = "argv"
    ENVIRONMENT = "environment"
    FILE = "file"
    ENDPOINT = "endpoint"
    LOG = "log"
    DRIVER = "driver"
    DEFAULT = "default"
    """The engine's own default at the version stated in the source."""
    ASSUMED = "assumed"
    """Nobody said; kvtop had to take something."""


@dataclass(frozen=True, slots=True)
class LaunchOption:
    """One effective option. `name` is the engine's canonical long name without dashes ("cache-type-k").

    `detail` names the exact place: the flag as typed, the variable, the file.
    """

    name: str
    value: str
    origin: Origin
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RemovedOption:
    """An option as typed that the engine's newest version no longer takes, and the words that say the same now.

    `last_version` is the last that is known to take it, `first_without` the first that is known not to; 0 is unknown.
    """

    typed: str
    now: tuple[str, ...]
    last_version: int = 0
    first_without: int = 0


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """Effective options of one server: the last word of files, environment and argv in the engine's own order.

    Options that nobody set are absent; defaults belong to the planning rules of the engine.
    `unknown` are words that the parser did not recognise (values dropped: they may be secrets).
    `errors` are the engine's own complaints about this command line, in its words.
    """

    engine: str
    options: tuple[LaunchOption, ...] = ()
    unknown: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    engine_version: str | None = None
    """The engine's own version, as it says it ("b11434-5ebf41ce", "0.32.0+cpu"); None: not known."""
    borrowed_rules: tuple[tuple[str, str], ...] = ()
    """Rules, by name, that are taken from another version: what one of them changes alone (`kvtop diff`)."""
    removed: tuple[RemovedOption, ...] = ()
    """Options of older versions: what is meant by them stands among `options`."""

    def get(self, name: str) -> LaunchOption | None:
        """The effective option of that canonical name, or None if nobody set it."""
        for option in self.options:
            if option.name == name:
                return option
        return None

    def value(self, name: str) -> str | None:
        """The effective value of that canonical name, or None if nobody set it."""
        option = self.get(name)
        return None if option is None else option.value
