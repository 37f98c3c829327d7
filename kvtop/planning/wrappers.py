"""What people write before a server's command: sudo, numactl, uv run, a container. The command itself is inside.

Only what is plain is taken off: a wrapper that is not known leaves the words as they are, and the command unrecognised.
"""

import posixpath
import re
from collections.abc import Sequence

_PLAIN = frozenset(
    {"sudo", "nohup", "time", "exec", "nice", "ionice", "numactl", "taskset", "stdbuf", "setsid", "chrt"}
)
_TAKES_VALUE = frozenset({"-u", "-n", "-c", "-p", "--cpu-list", "-N", "-m", "-C", "-i", "-g"})
"""Short options of those wrappers that have a value of their own."""
_RUNNERS = frozenset({("uv", "run"), ("poetry", "run"), ("pipx", "run"), ("conda", "run"), ("pdm", "run")})
_CONTAINERS = frozenset({"docker", "podman", "nerdctl"})
_IMAGES = (
    (re.compile(r"vllm-openai|(?:^|/)vllm(?::|$)"), ("vllm", "serve")),
    (re.compile(r"llama\.?cpp:[\w.-]*server|llama-server"), ("llama-server",)),
)
"""Images whose entry point is the server; what follows the image are its arguments."""
_CONTAINER_SWITCHES = frozenset(
    {
        "-d",
        "--detach",
        "--rm",
        "-it",
        "-ti",
        "-i",
        "-t",
        "--interactive",
        "--tty",
        "--privileged",
        "--init",
        "--read-only",
    }
)
_VARIABLE_OPTIONS = frozenset({"-e", "--env"})


def unwrapped(words: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The words of the server's own command, and the variables that a container is given for it."""
    rest, variables = list(words), list[tuple[str, str]]()
    while rest:
        program = posixpath.basename(rest[0])
        if program in _CONTAINERS:
            inner = _inside_container(rest[1:], variables)
            return (inner, variables) if inner is not None else (list(words), [])
        if tuple(rest[:2]) in _RUNNERS:
            rest = _after_options(rest[2:], frozenset({"--with", "--python", "-p", "-n", "--project", "--extra"}))
        elif program in _PLAIN:
            rest = _after_options(rest[1:], _TAKES_VALUE)
            if program == "taskset" and rest and not rest[0][0].isalpha() and "/" not in rest[0]:
                rest = rest[1:]  # its mask
        else:
            break
    return rest, variables


def _after_options(words: list[str], with_value: frozenset[str]) -> list[str]:
    index = 0
    while index < len(words) and words[index].startswith("-"):
        index += 2 if words[index] in with_value else 1
    return words[index:]


def _inside_container(words: list[str], variables: list[tuple[str, str]]) -> list[str] | None:
    """What runs inside `docker run … IMAGE ARGUMENTS`; None where the image is no known server's."""
    if words[:1] != ["run"]:
        return None
    index = 1
    while index < len(words) and words[index].startswith("-"):
        word = words[index]
        name, equals, value = word.partition("=")
        alone = word in _CONTAINER_SWITCHES or (bool(equals) and name.startswith("--"))
        following = words[index + 1] if index + 1 < len(words) else ""
        if name in _VARIABLE_OPTIONS:
            key, assigned, content = (value if equals else following).partition("=")
            if assigned:
                variables.append((key, content))
        index += 1 if alone else 2
    if index >= len(words):
        return None
    image, arguments = words[index], words[index + 1 :]
    for pattern, program in _IMAGES:
        if pattern.search(image):
            # Some name the program again after the image.
            is_named = arguments[: len(program)] == list(program) or (
                bool(arguments) and posixpath.basename(arguments[0]) in {"llama-server", "vllm", "python3", "python"}
            )
            return arguments if is_named else [*program, *arguments]
    return None
