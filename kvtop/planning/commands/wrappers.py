"""What people write before a server's command: sudo, numactl, uv run, a shell, a container. The command is inside.

Only what is plain is taken off: a wrapper that is not known leaves the words as they are, and the command unrecognised.
"""

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from kvtop.planning.commands.container_run import PROGRAMS, ContainerRun, inside
from kvtop.planning.commands.shell_line import simple_commands

_PLAIN = frozenset(
    {"sudo", "nohup", "time", "exec", "nice", "ionice", "numactl", "taskset", "stdbuf", "setsid", "chrt", "doas"}
    | {"srun", "systemd-run", "tini", "dumb-init", "catatonit", "prime-run", "unbuffer", "command", "setpriv"}
)
_TAKES_VALUE = frozenset({"-u", "-n", "-c", "-p", "--cpu-list", "-N", "-m", "-C", "-i", "-g", "-o", "-e", "--unit"})
"""Short options of those wrappers that have a value of their own."""
_NO_VALUE = frozenset({("time", "-p"), ("exec", "-c"), ("sudo", "-n"), ("sudo", "-i"), ("tini", "-g"), ("srun", "-i")})
_AS_USER = frozenset({"gosu", "su-exec", "runuser"})
_RUNNERS = frozenset({("uv", "run"), ("poetry", "run"), ("pipx", "run"), ("conda", "run"), ("pdm", "run")})
_RUNNER_VALUES = frozenset({"--with", "--python", "-p", "-n", "--project", "--extra"})
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ash", "ksh"})
_SHELL_COMMAND = re.compile(r"-[a-z]*c")
_UNIT = re.compile(r"ExecStart=[-@:+!]*")
"""A line of a systemd unit."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """The words of the server's own command, and the variables that stood before it or were given to a container."""

    words: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    container: ContainerRun | None = None


def unwrapped(words: Sequence[str]) -> Unwrapped:
    """Wrappers and variables taken off, from the outside in."""
    rest, variables = list(words), list[tuple[str, str]]()
    container: ContainerRun | None = None
    while rest:
        unit = _UNIT.match(rest[0])
        program = posixpath.basename(rest[0])
        if unit is not None:
            rest = [word for word in (rest[0][unit.end() :], *rest[1:]) if word]
        elif _VARIABLE.match(rest[0]):
            name, _, value = rest.pop(0).partition("=")
            variables.append((name, value))
        elif program == "env":
            rest = _after_options(program, rest[1:], frozenset({"-u", "-C", "--unset", "--chdir"}))
        elif program in PROGRAMS:
            container = inside(rest[1:])
            if container is None:
                return Unwrapped(tuple(words), ())
            variables += container.variables
            rest = list(container.words)
        elif tuple(rest[:2]) in _RUNNERS:
            rest = _after_options(program, rest[2:], _RUNNER_VALUES)
        elif program in _SHELLS and len(rest) > 2 and _SHELL_COMMAND.fullmatch(rest[1]):
            # Its own quotes are gone; variables are the container's or the unit's, which nobody knows here.
            commands = simple_commands(rest[2], dict(variables))
            rest = commands[-1] if commands else []
        elif program in _AS_USER and len(rest) > 2:
            rest = _after_options(program, rest[1:], _TAKES_VALUE)
            rest = rest[1:] if program != "runuser" else rest
        elif program in _PLAIN:
            rest = _after_options(program, rest[1:], _TAKES_VALUE)
            if program == "taskset" and rest and not rest[0][0].isalpha() and "/" not in rest[0]:
                rest = rest[1:]  # its mask
        else:
            break
    return Unwrapped(tuple(rest), tuple(variables), container)


def _after_options(program: str, words: list[str], with_value: frozenset[str]) -> list[str]:
    index = 0
    while index < len(words) and words[index].startswith("-"):
        word = words[index]
        index += 2 if word in with_value and (program, word) not in _NO_VALUE else 1
        if word == "--":
            break
    return words[index:]
