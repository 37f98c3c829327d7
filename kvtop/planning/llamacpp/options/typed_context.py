"""`-c 8k`: llama-server reads the digits and nothing after them (std::stoi, common/arg.cpp, b11434)."""

from collections.abc import Mapping, Sequence

from kvtop.planning.llamacpp.options.table import BY_SPELLING, OPTIONS
from kvtop.text import plain_number

_NAME = "ctx-size"
_UNITS = {"k": 1024, "m": 1024 * 1024}


def typed_context(words: Sequence[str], environ: Mapping[str, str]) -> str:
    """The context as it was typed, in the last place that counts; "" where it was not."""
    variable = OPTIONS[_NAME].variable
    found = environ.get(variable, "") if variable is not None else ""
    index = 0
    while index < len(words):
        word = words[index]
        match = BY_SPELLING.get(word.replace("_", "-") if word.startswith("--") else word)
        if match is not None and match[0].name == _NAME:
            found = "".join(words[index + 1 : index + 2])
        index += 1 + (0 if match is None else match[0].values)
    return found


def meant_context_tokens(typed: str) -> int | None:
    """What "8k" means to people, None for a plain number and for what means nothing."""
    digits, unit = typed.strip()[:-1], typed.strip()[-1:].lower()
    number = plain_number(digits)
    return number * _UNITS[unit] if number is not None and unit in _UNITS else None
