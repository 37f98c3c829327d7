"""vLLM and MLX: model directories, and the plans of the engines that serve them."""

from dataclasses import replace
from pathlib import Path

from kvtop.app.plan.engine_version import engine_version, version_notes, with_engine_version
from kvtop.app.plan.request import Machine, PlanRequest, UsageError, answered
from kvtop.domain.answers.plan_answer import PlanAnswer, device_fit
from kvtop.domain.answers.room import Fit, Room
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.memory import Segment
from kvtop.domain.model_file import Checkpoint, ModelFileError
from kvtop.domain.plan import MemoryPlan, Refusal
from kvtop.planning.bisection import largest
from kvtop.planning.registry import plan_launch
from kvtop.sources.model_files.huggingface import read_checkpoint
from kvtop.sources.model_files.locate import locate_checkpoint
from kvtop.sources.model_files.process_filesystem import ModelNotFoundError, ProcessFilesystem

STEP_TOKENS = 256
"""How closely the largest sequence of an engine without a context is told; mlx-lm's cache grows by as much."""


def open_pool(request: PlanRequest) -> tuple[LaunchOptions, Checkpoint] | Refusal:
    """The options of `vllm serve` and its model directory. Raises as `answer`."""
    from kvtop.planning.vllm.options.parse import parse_serve_options  # noqa: PLC0415

    if request.at_tokens is not None:
        raise UsageError("--at is for engines whose cache grows; vLLM takes its whole pool when it starts")
    words = request.command.words
    said = engine_version(request).version
    options = parse_serve_options(words, config_yaml=config_yaml(words), environ=request.environment, version=said)
    options = with_engine_version(request, options)
    if options.errors:
        return Refusal(options.engine, options.errors[0])
    found = read_checkpoint(checkpoint_directory(request, options))
    return options, replace(found, draft=_draft(request, options))


def _draft(request: PlanRequest, options: LaunchOptions) -> Checkpoint | None:
    """The draft that `--speculative-config` names, if it lies here."""
    from kvtop.planning.vllm.options.speculation import draft_name  # noqa: PLC0415  one engine's rules at a time

    name = draft_name(options)
    if not name:
        return None
    here = ProcessFilesystem(cwd=str(Path.cwd()), environ=request.environment)
    try:
        return read_checkpoint(locate_checkpoint(request.path_here(name), here).path)
    except (ModelNotFoundError, ModelFileError):
        return None


def open_growing(request: PlanRequest) -> tuple[LaunchOptions, Checkpoint] | Refusal:
    """The options of `mlx_lm.server` and its model directory. Raises as `answer`."""
    from kvtop.planning.mlx.options import parse_server_options  # noqa: PLC0415

    options = with_engine_version(request, parse_server_options(request.command.words))
    if options.errors:
        return Refusal(options.engine, options.errors[0])
    return options, read_checkpoint(checkpoint_directory(request, options))


def answer_pool(request: PlanRequest, machine: Machine) -> PlanAnswer | Refusal:
    """The plan of `vllm serve`, or its refusal. Raises as `answer`."""
    read = open_pool(request)
    if isinstance(read, Refusal):
        return read
    planned = plan_launch(*read, machine.devices)
    from kvtop.app.plan.vllm_room import shorter_hint, with_hints  # noqa: PLC0415  one engine's rules at a time

    if isinstance(planned, Refusal):
        return with_hints(planned, *read, machine.devices, machine.holders)
    found = answered(planned, machine)
    pool = None if planned.vllm is None else planned.vllm.pool_estimate
    hint = shorter_hint(*read, machine.devices) if pool is not None and pool.tokens_low == 0 else ""
    return replace(found, notes=(*version_notes(request, read[0]), *found.notes, *([hint] if hint else [])))


def answer_growing(request: PlanRequest, machine: Machine) -> PlanAnswer | Refusal:
    """The plan of one sequence of `mlx_lm.server`, or its refusal. Raises as `answer`."""
    read = open_growing(request)
    if isinstance(read, Refusal):
        return read
    options, checkpoint = read
    planned = plan_launch(options, checkpoint, (), at_tokens=request.at_tokens)
    if isinstance(planned, Refusal):
        return planned
    # The memory is one for all: what --gpu names is what there is.
    shared = sum(device.total_bytes or 0 for device in machine.devices) or machine.host_bytes
    found = answered(planned, Machine((), shared, machine.notes))
    found = replace(found, notes=(*version_notes(request, options), *found.notes))
    most = checkpoint.config.get("max_position_embeddings")
    weights_known = planned.memory.bytes_of(Segment.WEIGHTS) is not None
    if shared is None or not isinstance(most, int) or not weights_known:
        return found

    def fits(steps: int) -> bool:
        at = plan_launch(options, checkpoint, (), at_tokens=steps * STEP_TOKENS)
        return isinstance(at, MemoryPlan) and all(
            device_fit(part, Room(shared, shared)).fit in {Fit.FITS, Fit.UNKNOWN} for part in at.devices
        )

    steps = largest(fits, most // STEP_TOKENS)
    return replace(found, largest_context_tokens=steps * STEP_TOKENS, is_trained_limit=steps == most // STEP_TOKENS)


def checkpoint_directory(request: PlanRequest, options: LaunchOptions) -> str:
    """Where the model that the command names lies. Raises UsageError where it is not found."""
    name = options.value("model")
    if name is None:
        raise UsageError("the command names no model: give its directory or its id on the hub")
    here = ProcessFilesystem(cwd=str(Path.cwd()), environ=request.environment)
    try:
        return locate_checkpoint(
            request.path_here(name),
            here,
            revision=options.value("revision"),
            download_directory=options.value("download-dir"),
        ).path
    except ModelNotFoundError as error:
        raise UsageError(str(error)) from error


def config_yaml(words: tuple[str, ...]) -> str | None:
    """The text of vLLM's `--config FILE`, which is part of the command line."""
    for index, word in enumerate(words):
        name, equals, path = word.partition("=")
        if name != "--config":
            continue
        if not equals:
            path = words[index + 1] if index + 1 < len(words) else ""
        try:
            return Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--config {path}: {error}") from error
    return None
