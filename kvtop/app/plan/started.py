"""A command whose program starts the server itself, turned into the command of the server that it starts."""

import shlex
from dataclasses import replace
from pathlib import Path

from kvtop.app.plan.request import PlanRequest, UsageError, read_machine
from kvtop.domain.model_file import GgufHeader
from kvtop.domain.plan import NoExactRuleError
from kvtop.planning.commands.command import Command
from kvtop.planning.ollama import builds, commands
from kvtop.planning.registry import display_name
from kvtop.planning.versions import version_numbers


def as_started(request: PlanRequest) -> PlanRequest:
    """The request about the server itself; as it is where the command starts one without a go-between.

    Raises UsageError, ModelFileError, NoExactRuleError, and ValueError for a bad `--gpu`.
    """
    if request.command.engine != commands.NAME:
        return request
    from kvtop.planning.ollama.launch import OpenedModel, started_server  # noqa: PLC0415  only where such a command was given
    from kvtop.sources.model_files.gguf import read_gguf  # noqa: PLC0415  likewise
    from kvtop.sources.model_files.ollama_store import read_stored  # noqa: PLC0415  likewise
    from kvtop.sources.model_files.process_filesystem import (  # noqa: PLC0415  likewise
        ModelNotFoundError,
        ProcessFilesystem,
    )

    title = display_name(commands.NAME)
    name = commands.model_of(request.command.words)
    if name is None:
        raise UsageError(
            f"{title} loads a model when it is asked for: name it, as in kvtop plan -- ollama run llama3.2:3b"
        )
    if request.command.container is not None:
        raise UsageError(f"the models in {title}'s container cannot be read here: give ollama run MODEL itself")
    here = ProcessFilesystem(cwd=str(Path.cwd()), environ=request.environment)
    try:
        stored = read_stored(name, here)
    except ModelNotFoundError as error:
        raise UsageError(str(error)) from error
    header = read_gguf(here.ours(stored.model_path))
    projector = None if stored.projector_path is None else read_gguf(here.ours(stored.projector_path))
    draft = None if stored.draft_path is None else read_gguf(here.ours(stored.draft_path))
    build, source = _build(request, title)
    # Which cards it sees and what is free on them does not depend on the words behind the program.
    machine = read_machine(request)
    projector_bytes = 0 if projector is None else _tensor_bytes(projector)
    loaded = OpenedModel(stored, header, projector_bytes, "" if draft is None else draft.architecture or "")
    started = started_server(loaded, machine.devices_as_seen(), request.environment)
    command = Command(
        commands.SERVER_ENGINE,
        started.words,
        (*request.command.variables, *started.variables),
        program=commands.SERVER_PROGRAM,
    )
    return replace(
        request,
        command=command,
        engine_version=build,
        version_source=source,
        display=f"{commands.NAME} run {name}",
        notes=(f"{title} starts: {shlex.join([commands.SERVER_PROGRAM, *started.words])}", *started.notes),
    )


def _tensor_bytes(header: GgufHeader) -> int:
    sizes = [tensor.size_bytes for tensor in header.tensors if tensor.size_bytes is not None]
    if len(sizes) < len(header.tensors):
        raise NoExactRuleError(f"{header.path} has a tensor of a type whose size is unknown")
    return sum(sizes)


def _build(request: PlanRequest, title: str) -> tuple[str, str]:
    """The build of the llama-server that comes with this version, and who says so."""
    asked = request.engine_version
    if asked is not None and asked.startswith("b"):
        return asked, "--engine-version"
    version = builds.NEWEST_READ if asked is None else asked
    if version_numbers(version) is None:
        raise UsageError(f"--engine-version: {asked!r} is no version; say {builds.NEWEST_READ} or b10488")
    build = builds.build_of(version)
    if build is None:
        raise UsageError(
            f"{title} {version} runs models in a runner of its own, which kvtop has no rules for: 0.30 and newer start "
            "a llama-server"
        )
    said = "--engine-version" if asked is not None else "the newest one known; --engine-version names another"
    return build, f"{title} {version} ({said})"
