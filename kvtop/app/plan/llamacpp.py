"""llama-server: its options as it would read them here, its model files, its rules and its own tool."""

from dataclasses import dataclass, replace
from pathlib import Path

from kvtop.app.plan.engine_version import version_notes, with_engine_version
from kvtop.app.plan.removed import removed_notes, removed_refusal
from kvtop.app.plan.request import Machine, PlanRequest, UsageError, answered
from kvtop.domain.answers.plan_answer import Asked, Check, PlanAnswer
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.model_file import GgufHeader
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.llamacpp.fit import fit_params as tool_rules
from kvtop.planning.llamacpp.fit.largest_context import largest_context
from kvtop.planning.llamacpp.fit.outcome import FitSurroundings, Loaded, loaded
from kvtop.planning.llamacpp.memory.auxiliary_models import (
    AuxiliaryModels,
    adapter_refusal,
    auxiliary_models,
    rooms_left,
    with_auxiliary_models,
)
from kvtop.planning.llamacpp.memory.prepared import PreparedModel, prepare
from kvtop.planning.llamacpp.model.assumed import assume_full_attention
from kvtop.planning.llamacpp.options.overrides import overridden_header
from kvtop.planning.llamacpp.options.parse import config_paths, parse_llama_server, settings_of
from kvtop.planning.llamacpp.options.removed_options import rewritten
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from kvtop.planning.llamacpp.refusals import unknown_architecture
from kvtop.planning.llamacpp.rules.ranges import rules_for
from kvtop.planning.registry import as_valid, between, version_range
from kvtop.planning.versions import version_numbers
from kvtop.sources.model_files.gguf import read_gguf
from kvtop.sources.model_files.locate import find_sibling, locate_file, locate_hf
from kvtop.sources.model_files.process_filesystem import ModelNotFoundError, ProcessFilesystem
from kvtop.text import UnusableTextError


@dataclass(frozen=True, slots=True)
class ReadCommand:
    """A llama-server command with its files read. `assumption` is "" or what stands in for a missing rule."""

    options: LaunchOptions
    settings: LlamaSettings
    header: GgufHeader
    model: PreparedModel
    draft: PreparedModel | None
    adapters: tuple[GgufHeader, ...] = ()
    projector: GgufHeader | None = None
    assumption: str = ""

    def auxiliary_models(
        self, devices: tuple[PlanDevice, ...], settings: LlamaSettings | None = None
    ) -> AuxiliaryModels | Refusal:
        """What is loaded beside the models, with `settings` in place of those read. Raises NoExactRuleError."""
        return auxiliary_models(self.model, settings or self.settings, devices, self.adapters, self.projector)

    def loaded(self, machine: Machine, *, with_alternatives: bool = False) -> Loaded | Refusal:
        """What `--fit` makes of it here, and the plan of that. Raises NoExactRuleError."""
        refusal = next(iter(self.options.errors), None)
        if refusal is not None:
            return Refusal(self.options.engine, refusal)
        others = self.auxiliary_models(machine.devices)
        if isinstance(others, Refusal):
            return others
        around = FitSurroundings(
            machine.devices_as_seen(), machine.host_total_bytes, others.bytes_by_device, others.projector_bytes
        )
        return loaded(self.model, self.options, self.settings, around, self.draft, with_alternatives=with_alternatives)


def open_llamacpp(request: PlanRequest) -> ReadCommand | Refusal:
    """Options as the server would read them, then the files they name. Raises as `answer`."""
    options = llamacpp_options(request)
    settings = settings_of(options)
    if isinstance(settings, Refusal):
        return settings
    header = read_model(request, options.value("model"), options.value("hf-repo"), options.value("hf-file"))
    draft_path, draft_repository = options.value("spec-draft-model"), options.value("spec-draft-hf")
    draft = None
    if draft_path is not None or draft_repository is not None:
        draft = read_model(request, draft_path, None if draft_path is not None else draft_repository, None)
    else:
        _refuse_sidecars(options, settings, header.path)
    if draft is not None and settings.draft is None:
        named = LaunchOption("spec-draft-model", draft.path, Origin.ARGV, "spec-draft-hf")
        options = replace(options, options=(*options.options, named))
        again = settings_of(options)
        settings = again if not isinstance(again, Refusal) else settings
    overrides = options.value("override-kv")
    header = overridden_header(header, overrides)
    draft = None if draft is None else overridden_header(draft, overrides)
    assumption, rules = "", rules_for(options.engine_version)
    unknown = unknown_architecture(header.architecture, rules)
    if unknown is not None:
        return unknown
    try:
        model = prepare(header, rules)
    except NoExactRuleError:
        if not request.assume_full_attention:
            raise
        model = prepare(assume_full_attention(header), rules)
        assumption = "every layer is plain full attention"
    adapters = tuple(read_gguf(_file(request, path)) for path in settings.lora_paths)
    refusal = next(filter(None, (adapter_refusal(adapter, model) for adapter in adapters)), None)
    if refusal is not None:
        return refusal
    projector_path = _projector_path(request, options, header.path)
    if projector_path is not None:
        settings = replace(settings, mmproj_path=projector_path)
    return ReadCommand(
        options,
        settings,
        header,
        model,
        None if draft is None else prepare(draft, rules),
        adapters,
        None if projector_path is None else read_gguf(projector_path),
        assumption,
    )


def _file(request: PlanRequest, path: str) -> str:
    try:
        return locate_file(
            request.path_here(path), ProcessFilesystem(cwd=str(Path.cwd()), environ=request.environment)
        ).path
    except ModelNotFoundError as error:
        raise UsageError(str(error)) from error


_SIDECARS = {"draft-mtp": "mtp-", "draft-eagle3": "eagle3-", "draft-dflash": "dflash-", "draft-dspark": "dspark-"}
"""Words in the name of the draft that `-hf` brings along for a kind of speculation."""


def _refuse_sidecars(options: LaunchOptions, settings: LlamaSettings, model_path: str) -> None:
    repository = options.value("hf-repo")
    for kind in settings.speculative_types:
        found = find_sibling(model_path, _SIDECARS[kind], repository) if repository and kind in _SIDECARS else None
        if found is not None:
            raise NoExactRuleError(f"kvtop has no memory rule for {Path(found).name}, which -hf brings along")


def _projector_path(request: PlanRequest, options: LaunchOptions, model_path: str) -> str | None:
    """The projector that is named, or the one that `-hf` brings along with its model."""
    named = options.value("mmproj")
    if named is not None:
        return _file(request, named)
    if options.value("mmproj-url") is not None:
        raise UsageError("--mmproj-url: give the file with --mmproj, nothing is downloaded here")
    repository = options.value("hf-repo")
    if repository is None or options.value("mmproj-auto") == "false":
        return None
    return find_sibling(model_path, "mmproj", repository)


def answer_llamacpp(request: PlanRequest, machine: Machine) -> PlanAnswer | Refusal:
    """The plan of a llama-server, or its refusal. Raises as `answer`."""
    read = open_llamacpp(request)
    if isinstance(read, Refusal):
        return read
    found = read.loaded(machine, with_alternatives=True)
    if isinstance(found, Refusal):
        return found
    others = read.auxiliary_models(machine.devices, found.settings)
    if isinstance(others, Refusal):
        return others
    planned = _between(request, machine, read, with_auxiliary_models(found.plan, others))
    rooms = rooms_left(machine.rooms(), others)
    largest = largest_context(read.model, found.settings, machine.devices, rooms, read.draft)
    known = any(room is not None for room in machine.rooms().values())
    shown = answered(planned, machine)
    answer = replace(
        shown,
        largest_context_tokens=largest.tokens if known else None,
        is_trained_limit=largest.is_trained_limit,
        assumption=read.assumption,
        notes=(
            *removed_notes(read.options),
            *_set_elsewhere(read.options),
            *shown.notes,
            *_at_note(request),
            *version_notes(request, read.options),
        ),
        refusal=removed_refusal(read.options),
        engine_fit=found.fit,
        asked=_asked(read, found, machine),
    )
    if not request.verify:
        return answer
    checks, note = _verified(request, read.options, read.header, machine)
    return replace(answer, checks=checks, check_note=note)


def _between(request: PlanRequest, machine: Machine, read: ReadCommand, planned: MemoryPlan) -> MemoryPlan:
    """As `_as_read`, and beside the plans of the checked builds that the command's own lies between."""

    def of_build(version: str) -> MemoryPlan | Refusal:
        other = open_llamacpp(replace(request, engine_version=version))
        found = other if isinstance(other, Refusal) else other.loaded(machine)
        if isinstance(found, Refusal) or isinstance(other, Refusal):
            return found if isinstance(found, Refusal) else Refusal(read.options.engine, "")
        others = other.auxiliary_models(machine.devices, found.settings)
        return others if isinstance(others, Refusal) else with_auxiliary_models(found.plan, others)

    named = replace(planned, architecture=read.header.architecture or "?") if read.assumption else planned
    return between(read.options, named, of_build)


def _as_read(read: ReadCommand, planned: MemoryPlan) -> MemoryPlan:
    """With the file's own architecture where another was assumed, and as sure as the engine's version allows."""
    named = replace(planned, architecture=read.header.architecture or "?") if read.assumption else planned
    return as_valid(read.options, named)


def _asked(read: ReadCommand, found: Loaded, machine: Machine) -> Asked | None:
    """The plan of the options as typed, where the engine loads with others."""
    if found.asked is None or found.asked.devices == found.plan.devices:
        return None
    others = read.auxiliary_models(machine.devices)
    if isinstance(others, Refusal):
        return None
    shown = answered(_as_read(read, with_auxiliary_models(found.asked, others)), machine)
    return Asked(shown.plan, shown.rooms)


def llamacpp_options(request: PlanRequest) -> LaunchOptions:
    """As the server would read them here: config.ini, environment, command.

    Words that its rules do not know are a refusal where the version was checked; another build may know them.
    """
    files = []
    for path in config_paths(request.environment):
        try:
            files.append((path, Path(path).read_text(encoding="utf-8", errors="replace")))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}, and llama-server would read it") from error
    versioned = with_engine_version(request, LaunchOptions(request.command.engine))
    chosen = version_range(versioned)
    strict = chosen is None or chosen.is_checked
    numbers = version_numbers(versioned.engine_version)
    build = numbers[0] if numbers is not None and numbers[0] else None
    meant = rewritten(request.command.words, build)
    options = parse_llama_server(meant.words, request.environment, files, strict=strict, build=build)
    return replace(options, engine_version=versioned.engine_version, removed=meant.removed)


def _set_elsewhere(options: LaunchOptions) -> list[str]:
    """Options that the command itself does not show."""
    where = {Origin.ENVIRONMENT: "from the environment", Origin.FILE: "from a file"}
    return [
        f"{where[it.origin]}: {it.detail}{' ' + it.name if it.origin is Origin.FILE else ''} = {it.value}"
        for it in options.options
        if it.origin in where and it.value != "***"
    ]


def _at_note(request: PlanRequest) -> list[str]:
    if request.at_tokens is None:
        return []
    return ["--at changes nothing: llama-server takes its whole cache when it starts"]


def read_model(request: PlanRequest, path: str | None, repository: str | None, file: str | None) -> GgufHeader:
    """The header of the model that the command names; a repository wins over a path, as in the engine.

    Raises UsageError where none is found, ModelFileError.
    """
    here = ProcessFilesystem(cwd=str(Path.cwd()), environ=request.environment)
    try:
        if repository is not None:
            located = locate_hf(repository, here, file=file)
        elif path is not None:
            located = locate_file(request.path_here(path), here)
        else:
            raise UsageError("the command names no model: give llama-server -m FILE or -hf USER/REPO")
    except ModelNotFoundError as error:
        raise UsageError(str(error)) from error
    return read_gguf(located.path, parts=located.parts)


def _verified(
    request: PlanRequest, options: LaunchOptions, header: GgufHeader, machine: Machine
) -> tuple[tuple[Check, ...], str]:
    """The plan beside llama.cpp's own tool, on this machine's devices only."""
    from kvtop.sources.tools.fit_params import FitParamsError, find_tool, run_tool  # noqa: PLC0415

    if machine.devices and request.gpu_specs:
        return (), "not compared: llama-fit-params looks at this machine's devices, not at those of --gpu"
    settings = settings_of(options)
    if isinstance(settings, Refusal):
        raise AssertionError("unreachable: the plan used the same options")
    try:
        tool = find_tool(request.command.program, request.environment)
        arguments = tool_rules.tool_arguments(options, header.path, without_devices=not machine.devices)
        rows = tool_rules.parse_tool_output(run_tool(tool, arguments, request.environment))
        planned = plan(header, tool_rules.comparable(settings), machine.devices)
        if isinstance(planned, Refusal):
            return (), f"not compared: {planned.message}"
        checks = tool_rules.compare(planned, rows)
    except (FitParamsError, UnusableTextError) as error:
        return (), f"not compared: {error}"
    return checks, (
        f"{tool} was asked about one slot without repacked weights, which is all it knows, and so were these rules; "
        "compute is left out, because the tool sizes it for every output of a batch and the server for one a slot; the "
        "options are those typed, before --fit: what the tool fits itself is not the server's answer"
    )
