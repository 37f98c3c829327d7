"""Ollama's command line: which model `ollama run` asks for."""

import posixpath
from collections.abc import Sequence

NAME = "ollama"
SERVER_ENGINE, SERVER_PROGRAM = "llama.cpp", "llama-server"
"""What it starts for a model."""
_VALUED = frozenset(
    {"--keepalive", "--format", "--dimensions", "--width", "--height", "--steps", "--seed", "--negative"}
)
"""Options of `ollama run` that take the next word (cmd/cmd.go); `--think` takes one only behind "="."""


def started_by(words: Sequence[str]) -> tuple[str, ...] | None:
    """The words behind `ollama`, where that is the program and it loads a model or serves; else None."""
    if not words or posixpath.basename(words[0]).removesuffix(".exe") != "ollama":
        return None
    return tuple(words[1:]) if tuple(words[1:2]) in {("run",), ("serve",), ("start",)} else None


def model_of(words: Sequence[str]) -> str | None:
    """The model that `ollama run` names; None for `ollama serve`, and where none is named."""
    if tuple(words[:1]) != ("run",):
        return None
    rest = iter(words[1:])
    for word in rest:
        if word in _VALUED:
            next(rest, None)
        elif not word.startswith("-"):
            return word
    return None
