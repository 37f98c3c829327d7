"""A command line as the rules look at it: like a plan, but whatever cannot be read is only noted."""

import posixpath
from dataclasses import replace

from kvtop.analysis.lint.surroundings import ModelFiles, Surroundings
from kvtop.analysis.lint.target import LintTarget
from kvtop.app.plan.checkpoints import checkpoint_directory, config_yaml
from kvtop.app.plan.engine_version import engine_version, with_engine_version
from kvtop.app.plan.llamacpp import llamacpp_options, read_model
from kvtop.app.plan.request import Machine, PlanRequest, UsageError, read_machine
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.model_file import Checkpoint, GgufHeader, ModelFileError
from kvtop.planning.llamacpp.options.bare_flags import with_values
from kvtop.planning.llamacpp.options.refused_types import with_meant_types
from kvtop.planning.llamacpp.options.typed_context import typed_context
from kvtop.planning.registry import traits_of
from kvtop.sources.model_files.huggingface import read_checkpoint
from kvtop.sources.redaction.redact import allowed_environment


def read_target(request: PlanRequest) -> LintTarget:
    """The target of a command that is not started. Raises UsageError, or ValueError for a bad `--gpu`."""
    machine = read_machine(request)
    traits = traits_of(request.command.engine)
    if traits is not None and traits.model_format == "gguf":
        return _llamacpp(request, _surroundings(machine, request))
    if traits is None or not traits.cache_grows:
        from kvtop.planning.vllm.options.parse import parse_serve_options  # noqa: PLC0415  one engine's rules at a time

        words = request.command.words
        said = engine_version(request).version
        options = parse_serve_options(words, config_yaml=config_yaml(words), environ=request.environment, version=said)
        options = with_engine_version(request, options)
        return _checkpoint(request, options, _surroundings(machine, request))
    from kvtop.planning.mlx.options import parse_server_options  # noqa: PLC0415  see above

    options = with_engine_version(request, parse_server_options(request.command.words))
    return _checkpoint(request, options, _surroundings(machine, request))


def _surroundings(machine: Machine, request: PlanRequest) -> Surroundings:
    container = request.command.container
    here = not any(spec.lower() != "none" for spec in request.gpu_specs)
    return Surroundings(
        devices=machine.devices_as_seen(),
        are_devices_known=bool(machine.devices or request.gpu_specs),
        host_total_bytes=request.limited(request.host_bytes or (_host_total_bytes() if here else None)),
        environ=allowed_environment(request.environment),
        published=None if container is None else container.published,
        has_unread_variables=container is not None and container.env_files,
    )


def _host_total_bytes() -> int | None:
    from kvtop.sources.devices.host import host_memory  # noqa: PLC0415  psutil, only where this host is meant

    return host_memory().total_bytes


def _llamacpp(request: PlanRequest, where: Surroundings) -> LintTarget:
    strict = llamacpp_options(request)
    command = replace(request.command, words=with_values(request.command.words))
    options = with_meant_types(llamacpp_options(replace(request, command=command)))
    path, repository = options.value("model"), options.value("hf-repo")
    header, note = _gguf(request, path, repository, options.value("hf-file"))
    draft_names = options.value("spec-draft-model"), options.value("spec-draft-hf")
    draft, draft_note = _gguf(request, *draft_names, None) if any(draft_names) else (None, "")
    if draft is not None and options.get("spec-draft-model") is None:
        # The rules ask for the draft by its file.
        named = LaunchOption("spec-draft-model", draft.path, Origin.ARGV, "spec-draft-hf")
        options = replace(options, options=(*options.options, named))
    shown = path or repository or ""
    names = f"{path or ''} {repository or ''} {options.value('hf-file') or ''} {options.value('alias') or ''}"
    return LintTarget.from_command(
        request.display or f"llama-server {posixpath.basename(shown) or shown}".strip(),
        replace(options, errors=(*_swallowed(strict, options), *options.errors)),
        ModelFiles(names, header, note, draft, draft_note and f"the draft model: {draft_note}"),
        where,
        typed_context=typed_context(command.words, request.environment),
    )


def _swallowed(typed: LaunchOptions, meant: LaunchOptions) -> list[str]:
    """What the engine says of a bare `--flash-attn`; the words that it left over are no complaints of their own."""
    return [it for it in typed.errors if "flash-attn" in it and it not in meant.errors] or [
        it for it in typed.errors if '"-fa"' in it and it not in meant.errors
    ]


def _gguf(
    request: PlanRequest, path: str | None, repository: str | None, file: str | None
) -> tuple[GgufHeader | None, str]:
    try:
        return read_model(request, path, repository, file), ""
    except (UsageError, ModelFileError, OSError) as error:
        return None, str(error)


def _checkpoint(request: PlanRequest, options: LaunchOptions, where: Surroundings) -> LintTarget:
    model: Checkpoint | None = None
    note = ""
    try:
        model = read_checkpoint(checkpoint_directory(request, options))
    except (UsageError, ModelFileError, OSError) as error:
        note = str(error)
    name = options.value("model") or ""
    traits = traits_of(options.engine)
    program = options.engine if traits is None else " ".join(traits.program)
    return LintTarget.from_command(f"{program} {name}".strip(), options, ModelFiles(name, model, note), where)
