"""Which engine a command line starts, and where its own words begin."""

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvtop.domain.plan import NoExactRuleError
from kvtop.planning.commands.container_run import PROGRAMS as CONTAINER_PROGRAMS
from kvtop.planning.commands.container_run import ContainerRun
from kvtop.planning.commands.shell_line import simple_commands
from kvtop.planning.commands.unplanned_engines import unplanned_engine
from kvtop.planning.commands.wrappers import unwrapped
from kvtop.planning.ollama import commands as ollama_commands
from kvtop.planning.registry import ENGINES, engine_rules
from kvtop.text import UnusableTextError

_UNDERSTOOD = (
    "llama-server …, llama serve …, vllm serve MODEL …, python -m vllm.entrypoints.openai.api_server …, "
    "mlx_lm.server …, mlx_lm server …, python -m mlx_lm.server …, ollama run MODEL"
)


class UnplannedEngineError(NoExactRuleError, UnusableTextError):
    """The command starts an engine that kvtop knows and has no memory rules for. str() names it and what is planned."""


@dataclass(frozen=True, slots=True)
class Command:
    """`engine` is a name of the registry, or of what starts such an engine; `words` follow the program.

    `variables` stood before it (A=b cmd).
    """

    engine: str
    words: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = ()
    program: str = ""
    """As typed: a name or a path."""
    container: ContainerRun | None = None
    """What it runs in, where the command line says so."""


def typed_words(words: Sequence[str], environ: Mapping[str, str] | None = None) -> list[str]:
    """The words of a command that was given as such, or whole in quotes: then what a shell would make of the text.

    Of several commands in the text it is the one that starts a server. Raises ValueError for a quotation that is not
    closed.
    """
    if len(words) != 1 or not any(map(str.isspace, words[0].strip())):
        return list(words)
    listed = _listed(words[0])
    if listed is not None:
        return listed
    try:
        commands = simple_commands(words[0], environ or {})
    except ValueError as error:
        raise UnusableTextError(f"the command in quotes: {error}: {words[0]}") from error
    servers = [command for command in commands if _engine(list(unwrapped(command).words)) is not None]
    known = [command for command in commands if _unplanned(command) is not None]
    return (servers or known or commands or [[]])[0]


def _listed(text: str) -> list[str] | None:
    """`["vllm", "serve", "x"]`, as Dockerfiles and manifests write commands; None for anything else."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    is_words = isinstance(found, list) and all(isinstance(word, str) for word in found)
    return list(found) if is_words else None


def parse_command(words: Sequence[str]) -> Command:
    """Recognise a server's command line.

    Raises ValueError naming what is understood; UnplannedEngineError, which is one, for an engine without rules.
    """
    found = unwrapped(words)
    engine_and_words = _engine(list(found.words))
    if engine_and_words is None:
        engine = _unplanned(words)
        if engine is not None:
            raise UnplannedEngineError(f"kvtop has no memory rules for {engine} (it plans {_UNDERSTOOD})")
        shown = repr(" ".join(words[:3])) if words else "no command was given"
        raise UnusableTextError(f"not a command kvtop can plan: {shown} (understood: {_UNDERSTOOD})")
    engine, own = engine_and_words
    return Command(engine, tuple(own), found.variables, found.words[0], found.container)


def _unplanned(words: Sequence[str]) -> str | None:
    inner = unwrapped(words).words
    return unplanned_engine(inner, in_container=bool(inner) and posixpath.basename(inner[0]) in CONTAINER_PROGRAMS)


def process_command(argv: Sequence[str]) -> Command | None:
    """What a process itself is: a wrapper's process (sudo, uv run, docker run, a shell) is not the server inside."""
    engine_and_words = _engine(list(argv))
    return None if engine_and_words is None else Command(engine_and_words[0], tuple(engine_and_words[1]), (), argv[0])


def _engine(words: list[str]) -> tuple[str, list[str]] | None:
    """The engine that these words start, and its own words; engines after it in the list are not even imported."""
    for name in ENGINES:
        rules = engine_rules(name)
        own = None if rules is None else rules.started_by(words)
        if rules is not None and own is not None:
            return rules.name, list(own)
    own = ollama_commands.started_by(words)
    return None if own is None else (ollama_commands.NAME, list(own))
