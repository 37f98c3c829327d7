"""Reading a model's `config.json` for the MLX rules: a missing or odd value is never guessed."""

from collections.abc import Mapping, Sequence

from kvtop.domain.plan import MalformedModelError

_LARGEST = 2**53
"""JSON numbers are exact to there."""


class ModelConfig:
    """One level of a `config.json`; every reader raises MalformedModelError naming the key it could not use."""

    __slots__ = ("_values", "model_type")

    def __init__(self, model_type: str, values: Mapping[str, object]) -> None:
        self.model_type = model_type
        self._values = values

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self._values.get(key) is not None

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number that must be positive, or `default` where the key is absent."""
        value = self._values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
            raise MalformedModelError(f"{self.model_type}: config.json has no usable {key!r} ({value!r})")
        return value

    def positive(self, key: str, default: int | None = None) -> int:
        """As `integer`, and not 0."""
        value = self.integer(key, default)
        if value == 0:
            raise MalformedModelError(f"{self.model_type}: {key!r} is 0 in config.json")
        return value

    def optional(self, key: str) -> int | None:
        """A whole number, or None where the key is absent or null."""
        return self.integer(key) if self.has(key) else None

    def flag(self, key: str, *, default: bool) -> bool:
        """A truth value."""
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            raise MalformedModelError(f"{self.model_type}: {key!r} is {value!r} in config.json")
        return value

    def text(self, key: str) -> str | None:
        """A string, or None where the key is absent or something else."""
        value = self._values.get(key)
        return value if isinstance(value, str) else None

    def words(self, key: str) -> tuple[str, ...] | None:
        """A list of strings (or one string, letter by letter), or None where the key is absent or null."""
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, Sequence) and all(isinstance(word, str) for word in value):
            return tuple(str(word) for word in value)
        raise MalformedModelError(f"{self.model_type}: {key!r} is no list of words in config.json")

    def integers(self, key: str) -> tuple[int, ...] | None:
        """A list of whole numbers, or None where the key is absent or null."""
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, Sequence) and all(isinstance(item, int) for item in value):
            return tuple(item for item in value if isinstance(item, int))
        raise MalformedModelError(f"{self.model_type}: {key!r} is no list of whole numbers in config.json")

    def part(self, key: str) -> "ModelConfig":
        """A nested object."""
        value = self._values.get(key)
        if not isinstance(value, Mapping):
            raise MalformedModelError(f"{self.model_type}: config.json has no object {key!r}")
        return ModelConfig(self.model_type, value)

    def parts(self, key: str) -> tuple["ModelConfig", ...]:
        """A list of nested objects."""
        value = self._values.get(key)
        if not isinstance(value, Sequence) or not all(isinstance(item, Mapping) for item in value):
            raise MalformedModelError(f"{self.model_type}: config.json has no list of objects {key!r}")
        return tuple(ModelConfig(self.model_type, item) for item in value)
