"""Programs that a Python interpreter runs: its own flags, `-m MODULE`, scripts by path."""

import posixpath
import re
from collections.abc import Sequence

_PYTHON = re.compile(r"(?:[Pp]ython|pypy)[\d.]*(?:\.exe)?")


def is_python(program: str) -> bool:
    """Whether a program (a name or a path) is a Python interpreter."""
    return _PYTHON.fullmatch(posixpath.basename(program)) is not None


def interpreter_flags(words: Sequence[str]) -> list[str]:
    """Python's own flags at the start of the words after it."""
    return list(words[: len(words) - len(after_interpreter_flags(list(words)))])


def after_interpreter_flags(words: list[str]) -> list[str]:
    """What follows Python's own flags (`python -u -X dev -m module`)."""
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in {"-m", "-c", "-"}:
        flag = rest.pop(0)
        if flag in {"-X", "-W"} and rest:
            rest.pop(0)
    return rest


def module_words(words: Sequence[str]) -> tuple[str, tuple[str, ...]] | None:
    """(module, its words) of `python … -m MODULE …`; None for anything else."""
    if not words or not is_python(words[0]):
        return None
    rest = after_interpreter_flags(list(words[1:]))
    return (rest[1], tuple(rest[2:])) if rest[:1] == ["-m"] and len(rest) > 1 else None


def without_interpreter(words: Sequence[str], scripts: tuple[str, ...]) -> tuple[str, ...]:
    """The words without the interpreter where it runs one of these scripts by its path, as process lists show it.

    `python /usr/local/bin/vllm serve …` is `vllm serve …`; anything else stays as it is.
    """
    if not words or not is_python(words[0]):
        return tuple(words)
    rest = after_interpreter_flags(list(words[1:]))
    by_path = bool(rest) and rest[0].endswith(tuple(f"/{script}" for script in scripts))
    return tuple(rest) if by_path else tuple(words)
