"""A model file made ready for planning: what depends on the file alone is worked out once."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar, cast

from kvtop.domain.model_file import GgufHeader
from kvtop.planning.llamacpp.memory.weights import WeightSet, weight_set
from kvtop.planning.llamacpp.model.hparams import HParams
from kvtop.planning.llamacpp.model.loading import load_hparams
from kvtop.planning.llamacpp.model.unread_keys import unread_keys
from kvtop.planning.llamacpp.options.overrides import overridden_header
from kvtop.planning.llamacpp.rules.build_rules import BuildRules
from kvtop.planning.llamacpp.rules.ranges import NEWEST
from kvtop.planning.protocol.plan_context import Prepared

_Found = TypeVar("_Found")
_MOST_REMEMBERED = 4096
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True, eq=False)
class PreparedModel(Prepared):
    """Hyperparameters and sorted tensors of one file.

    It remembers what was worked out for it: many plans of one model differ in a context or a cache type only.
    """

    header: GgufHeader
    hparams: HParams
    weights: WeightSet
    _remembered: dict[Hashable, object] = field(default_factory=dict, init=False, repr=False)

    def remember(self, key: Hashable, make: Callable[[], _Found]) -> _Found:
        """What `make` gave for this key before, or gives now. `make` depends on the model and the key alone."""
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            found = self._remembered[key] = make()
        return cast("_Found", found)

    def under(self, rules: BuildRules) -> "PreparedModel":
        """The same file as another build reads it. Raises NoExactRuleError as `prepare`."""
        if rules is self.hparams.build:
            return self
        return self.remember(("build", rules), lambda: prepare(self.header, rules))

    @property
    def doubt(self) -> str:
        """Why no figure of this file is exact: keys that no known build reads; or ""."""
        unread = self.remember("unread", lambda: unread_keys(self.header))
        named = ", ".join(f"{self.hparams.arch}.{name}" for name in unread[:_MOST_NAMED])
        more = f" and {len(unread) - _MOST_NAMED} more" if len(unread) > _MOST_NAMED else ""
        return f"no known build reads the file's {named}{more}" if unread else ""

    @property
    def name(self) -> str:
        """What the file calls itself, or its path."""
        name = self.header.metadata.get("general.name")
        return name if isinstance(name, str) and name else self.header.path


def prepare(header: GgufHeader, rules: BuildRules = NEWEST) -> PreparedModel:
    """Read a header into hyperparameters and tensors, as a build does. Raises NoExactRuleError as `load_hparams`."""
    hparams = load_hparams(header, rules)
    return PreparedModel(header, hparams, weight_set(header, hparams))


def overridden_model(model: PreparedModel, text: str | None) -> PreparedModel:
    """The model as the engine reads it under `--override-kv`; None: it is not given.

    Raises ValueError for a text that the engine would not take, NoExactRuleError as `prepare`.
    """
    if text is None:
        return model
    header = overridden_header(model.header, text)
    if header.metadata == model.header.metadata:
        return model
    return model.remember(("override-kv", text), lambda: prepare(header, model.hparams.build))
