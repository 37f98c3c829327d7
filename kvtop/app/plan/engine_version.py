"""Which version of the engine a command starts, and who says so."""

from dataclasses import dataclass, replace

from kvtop.app.plan.request import PlanRequest, UsageError
from kvtop.domain.launch import LaunchOptions
from kvtop.planning.registry import traits_of, version_range
from kvtop.planning.versions import version_numbers


@dataclass(frozen=True, slots=True)
class EngineVersion:
    """`version` None: nothing says it, and the newest rules are used. `source` is where it was read."""

    version: str | None
    source: str = ""


def engine_version(request: PlanRequest) -> EngineVersion:
    """By `--engine-version`, the tag of the image, the program that the command names; else unknown.

    Raises UsageError for an `--engine-version` that is no version.
    """
    if request.engine_version is not None:
        if version_numbers(request.engine_version) is None:
            raise UsageError(f"--engine-version: {request.engine_version!r} is no version; say b11434 or 0.32.0")
        return EngineVersion(request.engine_version, request.version_source)
    container = request.command.container
    if container is not None:
        tagged = container.image_version
        return EngineVersion(tagged, f"the image {container.image}") if tagged else EngineVersion(None)
    return _installed(request)


def _installed(request: PlanRequest) -> EngineVersion:
    traits = traits_of(request.command.engine)
    if traits is None or not request.command.program:
        return EngineVersion(None)
    from kvtop.sources.tools.program_version import (  # noqa: PLC0415  subprocess, only where a command is planned
        distribution_version,
        found_program,
        printed_build,
    )

    path = found_program(request.command.program, request.environment)
    if path is None:
        return EngineVersion(None)
    found = distribution_version(path, traits.distribution) if traits.distribution else printed_build(path)
    return EngineVersion(found, path) if found is not None else EngineVersion(None)


def with_engine_version(request: PlanRequest, options: LaunchOptions) -> LaunchOptions:
    """The options with the version that they are planned for. Raises as `engine_version`."""
    return replace(options, engine_version=engine_version(request).version)


def version_notes(request: PlanRequest, options: LaunchOptions) -> tuple[str, ...]:
    """What a person has to know of the version: where it was read, and that its rules were not validated."""
    if options.engine_version is None:
        return ()
    chosen = version_range(options)
    notes = [f"planned for {options.engine_version}, as {engine_version(request).source} says"]
    if chosen is not None and not chosen.is_checked:
        notes.append(chosen.verdict)
    return tuple(notes)
