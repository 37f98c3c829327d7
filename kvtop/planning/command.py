"""Which engine a command line starts, and where its own words begin."""

import posixpath
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from kvtop.planning.wrappers import unwrapped

_LLAMA = re.compile(r"llama-server(?:-[\w.-]+)?(?:\.exe)?")
_PYTHON = re.compile(r"(?:[Pp]ython|pypy)[\d.]*(?:\.exe)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


@dataclass(frozen=True, slots=True)
class Command:
    """`engine` is "llama.cpp", "vllm" or "mlx"; `words` follow the program; `variables` stood before it (A=b cmd)."""

    engine: str
    words: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = ()
    program: str = ""
    """As typed: a name or a path."""


def typed_words(words: Sequence[str], with_comments: bool = False) -> list[str]:
    """The words of a command that was given as such, or whole in quotes (a line of a script `with_comments`).

    Raises ValueError for a quotation that is not closed.
    """
    if len(words) != 1 or not any(map(str.isspace, words[0].strip())):
        return list(words)
    try:
        return shlex.split(words[0].replace("\\\n", " "), comments=with_comments)
    except ValueError as error:
        raise ValueError(f"the command in quotes: {error}: {words[0]}") from error


def parse_command(words: Sequence[str]) -> Command:
    """Recognise a server's command line. Raises ValueError naming what is understood."""
    rest, variables = _without_variables(list(words))
    rest, given = unwrapped(rest)
    rest, inner = _without_variables(rest)
    variables += given + inner
    engine_and_words = _engine(rest)
    if engine_and_words is None:
        shown = " ".join(words[:3]) or "nothing"
        raise ValueError(
            f"not a command kvtop can plan: {shown!r} (understood: llama-server …, vllm serve MODEL …, "
            "python -m vllm.entrypoints.openai.api_server …, mlx_lm.server …, mlx_lm server …, "
            "python -m mlx_lm.server …)"
        )
    engine, own = engine_and_words
    return Command(engine, tuple(own), tuple(variables), rest[0])


def _without_variables(words: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """`env A=b C=d` taken off the front."""
    rest = words[1:] if words[:1] == ["env"] else list(words)
    variables = []
    while rest and _VARIABLE.match(rest[0]):
        name, _, value = rest.pop(0).partition("=")
        variables.append((name, value))
    return rest, variables


def _engine(words: list[str]) -> tuple[str, list[str]] | None:
    if not words:
        return None
    program = posixpath.basename(words[0])
    following = words[1:2]
    if _LLAMA.fullmatch(program):
        return "llama.cpp", words[1:]
    if program == "vllm" and following == ["serve"]:
        return "vllm", words[2:]
    if program == "mlx_lm.server":
        return "mlx", words[1:]
    if program == "mlx_lm" and following == ["server"]:
        return "mlx", words[2:]
    if is_python(program):
        script = after_interpreter_flags(words[1:])
        if script[:1] == ["-m"] and len(script) > 1:
            return _module(script[1], script[2:])
        # As process lists show it: python /usr/local/bin/vllm serve …
        return _engine(script) if script and script[0].endswith(("/vllm", "/mlx_lm", "/mlx_lm.server")) else None
    return None


def interpreter_flags(words: Sequence[str]) -> list[str]:
    """Python's own flags at the start of the words after it."""
    return list(words[: len(words) - len(after_interpreter_flags(list(words)))])


def is_python(program: str) -> bool:
    """Whether a program (a name or a path) is a Python interpreter."""
    return _PYTHON.fullmatch(posixpath.basename(program)) is not None


def after_interpreter_flags(words: list[str]) -> list[str]:
    """What follows Python's own flags (`python -u -X dev -m module`)."""
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in {"-m", "-c", "-"}:
        flag = rest.pop(0)
        if flag in {"-X", "-W"} and rest:
            rest.pop(0)
    return rest


def _module(module: str, words: list[str]) -> tuple[str, list[str]] | None:
    if module == "vllm.entrypoints.openai.api_server":
        return "vllm", words
    if module == "vllm.entrypoints.cli.main" and words[:1] == ["serve"]:
        return "vllm", words[1:]
    if module == "mlx_lm.server":
        return "mlx", words
    if module == "mlx_lm" and words[:1] == ["server"]:
        return "mlx", words[1:]
    return None
