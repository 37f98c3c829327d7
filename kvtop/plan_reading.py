"""From a command line to the answer of `kvtop plan`: reads model files and devices, then asks the rules."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.model_file import GgufHeader
from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal, UnknownArchitectureError
from kvtop.domain.plan_answer import Check, PlanAnswer, room_of
from kvtop.planning.command import Command
from kvtop.planning.gpu_specs import parse_gpu_specs, visible_devices

DRIVER_SECONDS = 5.0
"""How long a driver may take to answer before it counts as absent."""

_CONTEXT_NOTE = "what the driver itself takes for each process on a card (0.3 to 0.6 GiB with CUDA) comes on top"


class UsageError(Exception):
    """str() is one line for a person: what is wrong and what would be accepted."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked. `environ` is this process's; the command's own variables come on top."""

    command: Command
    gpu_specs: tuple[str, ...] = ()
    at_tokens: int | None = None
    assume_full_attention: bool = False
    verify: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What the server would see."""
        return {**self.environ, **dict(self.command.variables)}


@dataclass(frozen=True, slots=True)
class Machine:
    """What to plan for. `host_bytes` None: the host is another one, or cannot be read."""

    devices: tuple[PlanDevice, ...]
    host_bytes: int | None
    notes: tuple[str, ...] = ()

    def room_bytes(self) -> dict[str, int | None]:
        """Memory that is there by device: free now, else all of it."""
        rooms = {it.name: it.total_bytes if it.free_bytes is None else it.free_bytes for it in self.devices}
        return {**rooms, "host": self.host_bytes}


def answer(question: Question) -> PlanAnswer | Refusal:
    """The plan, or the engine's refusal.

    Raises UsageError for what a person can mend, ModelFileError for a file that cannot be believed, ValueError for a
    bad `--gpu`, UnknownArchitectureError where there is no exact rule.
    """
    machine = read_machine(question)
    if question.command.engine == "llama.cpp":
        return _llamacpp(question, machine)
    if question.assume_full_attention or question.verify:
        raise UsageError("--assume and --verify are for llama-server commands only")
    planned = _vllm(question, machine) if question.command.engine == "vllm" else _mlx(question)
    return planned if isinstance(planned, Refusal) else _answered(planned, machine)


def read_machine(question: Question) -> Machine:
    """The devices of `--gpu`, or this machine's as the server would see them."""
    if question.gpu_specs:
        devices = parse_gpu_specs(question.gpu_specs)
        if devices:
            return Machine(devices, None)
        from kvtop.sources.devices.host import host_memory  # noqa: PLC0415  psutil, only when it is asked for

        return Machine((), host_memory().free_bytes)
    from kvtop.sources.devices import device_reader  # noqa: PLC0415  the driver, only when nothing was said

    found, failures = device_reader().read_once(DRIVER_SECONDS)
    host = next((device for device in found if device.backend == "host"), None)
    return Machine(
        visible_devices(found, question.environment.get("CUDA_VISIBLE_DEVICES")),
        None if host is None else host.memory.free_bytes,
        tuple(f"{failure.source}: {failure.message}" for failure in failures),
    )


def _answered(plan: MemoryPlan, machine: Machine) -> PlanAnswer:
    rooms = machine.room_bytes()
    products = {device.name: device.product for device in machine.devices}
    on_cards = any(device.backend == "cuda" for device in machine.devices)
    return PlanAnswer(
        plan,
        tuple(room_of(part, rooms.get(part.name), products.get(part.name, "")) for part in plan.devices),
        notes=(*machine.notes, *((_CONTEXT_NOTE,) if on_cards else ())),
    )


def _llamacpp(question: Question, machine: Machine) -> PlanAnswer | Refusal:
    from kvtop.planning.llamacpp.assumed import assume_full_attention  # noqa: PLC0415  one engine's rules at a time
    from kvtop.planning.llamacpp.largest_context import largest_context  # noqa: PLC0415
    from kvtop.planning.llamacpp.options import settings_of  # noqa: PLC0415
    from kvtop.planning.llamacpp.planner import plan  # noqa: PLC0415
    from kvtop.planning.llamacpp.prepared import prepare  # noqa: PLC0415

    options = _llamacpp_options(question)
    settings = settings_of(options)
    if isinstance(settings, Refusal):
        return settings
    header = _gguf(question, options.value("model"), options.value("hf-repo"), options.value("hf-file"))
    draft_name = options.value("spec-draft-model"), options.value("spec-draft-hf")
    draft = _gguf(question, *draft_name, None) if any(draft_name) else None
    if draft is not None and settings.draft is None:
        named = LaunchOption("spec-draft-model", draft.path, Origin.ARGV, "spec-draft-hf")
        again = settings_of(replace(options, options=(*options.options, named)))
        settings = again if not isinstance(again, Refusal) else settings
    assumption = ""
    try:
        model = prepare(header)
    except UnknownArchitectureError:
        if not question.assume_full_attention:
            raise
        model = prepare(assume_full_attention(header))
        assumption = "every layer is plain full attention"
    second = None if draft is None else prepare(draft)
    planned = plan(model, settings, machine.devices, second)
    if isinstance(planned, Refusal):
        return planned
    if assumption:
        planned = replace(planned, architecture=header.architecture or "?")
    largest = largest_context(model, settings, machine.devices, machine.room_bytes(), second)
    known = any(room is not None for room in machine.room_bytes().values())
    answered = replace(
        _answered(planned, machine),
        largest_context_tokens=largest.tokens if known else None,
        is_trained_limit=largest.is_trained_limit,
        assumption=assumption,
    )
    answered = replace(answered, notes=(*_set_elsewhere(options), *answered.notes, *_at_note(question)))
    if not question.verify:
        return answered
    checks, note = _verified(question, options, header, machine)
    return replace(answered, checks=checks, check_note=note)


def _llamacpp_options(question: Question) -> LaunchOptions:
    """As the server would read them here: config.ini, environment, command."""
    from kvtop.planning.llamacpp.options import config_paths, parse_llama_server  # noqa: PLC0415

    files = []
    for path in config_paths(question.environment):
        try:
            files.append((path, Path(path).read_text(encoding="utf-8", errors="replace")))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}, and llama-server would read it") from error
    return parse_llama_server(question.command.words, question.environment, files, strict=True)


def _set_elsewhere(options: LaunchOptions) -> list[str]:
    """Options that the command itself does not show."""
    where = {Origin.ENVIRONMENT: "from the environment", Origin.FILE: "from a file"}
    return [
        f"{where[it.origin]}: {it.detail}{' ' + it.name if it.origin is Origin.FILE else ''} = {it.value}"
        for it in options.options
        if it.origin in where and it.value != "***"
    ]


def _at_note(question: Question) -> list[str]:
    if question.at_tokens is None:
        return []
    return ["--at changes nothing: llama-server takes its whole cache when it starts"]


def _gguf(question: Question, path: str | None, repository: str | None, file: str | None) -> GgufHeader:
    from kvtop.sources.model_files.gguf import read_gguf  # noqa: PLC0415
    from kvtop.sources.model_files.locate import locate_file, locate_hf  # noqa: PLC0415
    from kvtop.sources.model_files.vantage import ModelNotFoundError, Vantage  # noqa: PLC0415

    here = Vantage(cwd=str(Path.cwd()), environ=question.environment)
    try:
        if path is not None:
            located = locate_file(path, here)
        elif repository is not None:
            located = locate_hf(repository, here, file=file)
        else:
            raise UsageError("the command names no model: give llama-server -m FILE or -hf USER/REPO")
    except ModelNotFoundError as error:
        raise UsageError(str(error)) from error
    return read_gguf(located.path, parts=located.parts)


def _verified(
    question: Question, options: LaunchOptions, header: GgufHeader, machine: Machine
) -> tuple[tuple[Check, ...], str]:
    """The plan beside llama.cpp's own tool, on this machine's devices only."""
    from kvtop.planning.llamacpp import fit_params as rules  # noqa: PLC0415
    from kvtop.planning.llamacpp.options import settings_of  # noqa: PLC0415
    from kvtop.planning.llamacpp.planner import plan  # noqa: PLC0415
    from kvtop.sources.fit_params import FitParamsError, find_tool, run_tool  # noqa: PLC0415

    if machine.devices and question.gpu_specs:
        return (), "not compared: llama-fit-params looks at this machine's devices, not at those of --gpu"
    settings = settings_of(options)
    if isinstance(settings, Refusal):
        raise AssertionError("unreachable: the plan was made from the same options")
    try:
        tool = find_tool(question.command.program, question.environment)
        arguments = rules.tool_arguments(options, header.path, without_devices=not machine.devices)
        rows = rules.parse_tool_output(run_tool(tool, arguments, question.environment))
        planned = plan(header, rules.comparable(settings), machine.devices)
        if isinstance(planned, Refusal):
            return (), f"not compared: {planned.message}"
        checks = rules.compare(planned, rows)
    except (FitParamsError, ValueError) as error:
        return (), f"not compared: {error}"
    return checks, (
        f"{tool} was asked about one slot without repacked weights, which is all it knows, and so were these rules; "
        "compute is left out, because the tool sizes it for every output of a batch and the server for one a slot"
    )


def _vllm(question: Question, machine: Machine) -> MemoryPlan | Refusal:
    from kvtop.planning.vllm.options import parse_serve_options  # noqa: PLC0415
    from kvtop.planning.vllm.planner import plan_options  # noqa: PLC0415
    from kvtop.sources.model_files.huggingface import read_checkpoint  # noqa: PLC0415

    if question.at_tokens is not None:
        raise UsageError("--at is for engines whose cache grows; vLLM takes its whole pool when it starts")
    options = parse_serve_options(question.command.words, config_yaml=_config_yaml(question.command.words))
    if options.errors:
        return Refusal("vllm", options.errors[0])
    return plan_options(options, read_checkpoint(_directory(question, options)), machine.devices)


def _mlx(question: Question) -> MemoryPlan | Refusal:
    from kvtop.planning.mlx.options import parse_server_options  # noqa: PLC0415
    from kvtop.planning.mlx.planner import plan_command  # noqa: PLC0415
    from kvtop.sources.model_files.huggingface import read_checkpoint  # noqa: PLC0415

    words = question.command.words
    checkpoint = read_checkpoint(_directory(question, parse_server_options(words)))
    return plan_command(words, checkpoint, question.at_tokens)


def _directory(question: Question, options: LaunchOptions) -> str:
    from kvtop.sources.model_files.locate import locate_checkpoint  # noqa: PLC0415
    from kvtop.sources.model_files.vantage import ModelNotFoundError, Vantage  # noqa: PLC0415

    name = options.value("model")
    if name is None:
        raise UsageError("the command names no model: give its directory or its id on the hub")
    here = Vantage(cwd=str(Path.cwd()), environ=question.environment)
    try:
        return locate_checkpoint(
            name, here, revision=options.value("revision"), download_directory=options.value("download-dir")
        ).path
    except ModelNotFoundError as error:
        raise UsageError(str(error)) from error


def _config_yaml(words: tuple[str, ...]) -> str | None:
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


def this_environment() -> dict[str, str]:
    """The variables of this process."""
    return dict(os.environ)
