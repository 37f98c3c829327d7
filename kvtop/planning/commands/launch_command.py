"""A changed launch as a person would type it: the command line, an environment of Ollama, or a line of a preset.

Spelled for the engine and version that the rules were checked on: `--flash-attn on`, never the bare flag.
"""

import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kvtop.domain.launch import LaunchOptions
from kvtop.planning.registry import engine_rules
from kvtop.text import plain_number


class Host(StrEnum):
    """What starts the server, and so where its options are written."""

    COMMAND = "command"
    OLLAMA = "ollama"
    ROUTER = "router"
    """llama-server's own router, which reads presets."""
    LLAMA_SWAP = "llama-swap"
    """A proxy that starts a command for each model, written in its configuration."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """What to write and where. `text` is to be copied; `where` says in words what it is; `notes` are what it cannot."""

    where: str
    text: str
    notes: tuple[str, ...] = ()


_OLLAMA: Mapping[str, str] = {
    "parallel": "OLLAMA_NUM_PARALLEL",
    "flash-attn": "OLLAMA_FLASH_ATTENTION",
}
_CONTEXT = ("ctx-size", "parallel")


def host_of(argv: Sequence[str] | None, parent_argv: Sequence[str] | None) -> Host:
    """What started a process, by the words of its own command and its parent's."""
    program = argv[0] if argv else ""
    parent = posixpath.basename(parent_argv[0]) if parent_argv else ""
    if re.search(r"(^|/)ollama(/|$)", program) or parent.startswith("ollama"):
        return Host.OLLAMA
    if re.fullmatch(r"llama-server(\.exe)?", parent):
        return Host.ROUTER
    if re.fullmatch(r"llama-swap([-_.].*)?", parent):
        return Host.LLAMA_SWAP
    return Host.COMMAND


def instruction(
    host: Host, base: LaunchOptions, changes: Sequence[tuple[str, str | None]], argv: Sequence[str]
) -> Instruction:
    """How to get the changes. `argv` is the whole present command (secrets masked), its program first."""
    if host is Host.OLLAMA:
        return _ollama(base, changes)
    if host is Host.ROUTER:
        lines = [f"{name} = {value}" for name, value in changes if value is not None]
        removed = [f"remove {name}" for name, value in changes if value is None]
        return Instruction("the model's section in the router's preset file", "\n".join(lines), tuple(removed))
    command = shlex.join(command_words(base, changes, argv))
    if host is Host.LLAMA_SWAP:
        return Instruction(
            "the model's section in llama-swap's configuration",
            f"cmd: {command}",
            ("where `cmd` has ${PORT}, keep it: the port here is the one that llama-swap chose",),
        )
    return Instruction("the command line", command)


def command_words(
    base: LaunchOptions, changes: Sequence[tuple[str, str | None]], argv: Sequence[str]
) -> tuple[str, ...]:
    """The present command with the changed options taken out and spelled anew at its end."""
    names = {name for name, _ in changes}
    rules = engine_rules(base.engine)
    if rules is None:
        raise ValueError(f"kvtop does not know how {base.engine} spells its options")
    kept = rules.without_options(argv, base, names)
    return (*kept, *rules.option_words(changes))


def customary_words(engine: str, changes: Sequence[tuple[str, str | None]]) -> tuple[str, ...]:
    """The changed options alone as most people type them: `-c` for `--ctx-size`."""
    rules = engine_rules(engine)
    return () if rules is None else rules.customary_words(changes)


def _ollama(base: LaunchOptions, changes: Sequence[tuple[str, str | None]]) -> Instruction:
    """Ollama's own variables: one cache type for K and V, a context for each sequence."""
    changed = dict(changes)
    value = {option.name: option.value for option in base.options} | {k: v for k, v in changes if v is not None}
    lines: list[str] = []
    notes: list[str] = []
    if {"cache-type-k", "cache-type-v"} & changed.keys():
        type_k, type_v = value.get("cache-type-k", "f16"), value.get("cache-type-v", "f16")
        if type_k == type_v:
            lines.append(f"OLLAMA_KV_CACHE_TYPE={type_k}")
        else:
            notes.append(f"Ollama has one type for K and V: {type_k} with {type_v} cannot be set")
    cells = plain_number(value.get("ctx-size"))
    if set(_CONTEXT) & changed.keys() and cells is not None:
        lines.append(f"OLLAMA_CONTEXT_LENGTH={cells // (plain_number(value.get('parallel')) or 1)}")
    for name, variable in _OLLAMA.items():
        chosen = changed.get(name)
        if chosen is not None:
            lines.append(f"{variable}={ {'on': '1', 'off': '0'}.get(chosen, chosen) }")
    served = {"cache-type-k", "cache-type-v", *_CONTEXT, *_OLLAMA}
    pool = base.value("kv-unified") or ("true" if base.get("parallel") is None else "false")
    if changed.get("kv-unified") == pool:
        served.add("kv-unified")
    notes += [f"Ollama has no setting for --{name}" for name in changed if name not in served]
    return Instruction("the environment of `ollama serve`", "\n".join(lines), tuple(notes))
