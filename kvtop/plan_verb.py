"""`kvtop plan -- COMMAND`: what a server's command line will allocate where, before it is started."""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from kvtop.domain.model_file import GgufHeader, ModelFileError
from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal, UnknownArchitectureError
from kvtop.planning.command import Command, parse_command
from kvtop.planning.gpu_specs import parse_gpu_specs

EXIT_OK, EXIT_USAGE, EXIT_REFUSED, EXIT_UNKNOWN = 0, 2, 3, 4
DRIVER_SECONDS = 5.0
_STEP_TOKENS = 256
"""llama.cpp rounds contexts to this."""

_EPILOG = """\
The command is taken exactly as it would be typed; only local files are read. Exit codes: 0 planned; 2 bad usage or an
unreadable model file; 3 the engine would refuse to start; 4 no exact rule for this model or option.

  kvtop plan --gpu 24GiB -- llama-server -m model.gguf -c 32768 -ctk q8_0 -ctv q8_0 -fa on
  kvtop plan --gpu H100 --gpu H100 -- vllm serve ./model --tensor-parallel-size 2
"""


class _UsageError(Exception):
    """str() is one line for a person: what is wrong and what would be accepted."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="as JSON, schema kvtop.plan/1")
    parser.add_argument("--explain", action="store_true", help="say how every number follows, rule by rule")
    parser.add_argument(
        "--gpu",
        action="append",
        default=[],
        metavar="SPEC",
        help="a device to plan for: 24GiB, '80GiB,cc=9.0', 'RTX 4090' or none; repeatable (default: this machine's)",
    )
    parser.add_argument("--at", type=int, metavar="TOKENS", help="tokens per sequence, for engines without a context")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the server's command line")


def run(args: argparse.Namespace) -> int:
    """Plan and print. Returns the exit code of the module's help."""
    from kvtop.views.export.plan_json import error_text  # noqa: PLC0415  kept off the path of --help

    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    engine: str | None = None
    try:
        command = parse_command(words)
        engine = command.engine
        devices = _devices(args.gpu)
        answer, header = _answer(command, devices)
    except (_UsageError, ValueError, ModelFileError, OSError) as error:
        print(f"kvtop plan: {error}", file=sys.stderr)
        return EXIT_USAGE
    except UnknownArchitectureError as error:
        return _no_plan(args, error_text(engine, str(error)), f"no exact rule: {error}", EXIT_UNKNOWN)
    if isinstance(answer, Refusal):
        message = f"{answer.engine} would refuse to start: {answer.message}"
        return _no_plan(args, error_text(engine, answer.message), message, EXIT_REFUSED)
    sys.stdout.write(_shown(args, command, answer, devices, header))
    return EXIT_OK


def _no_plan(args: argparse.Namespace, document: str, message: str, code: int) -> int:
    if args.json:
        sys.stdout.write(document)
    else:
        print(f"kvtop plan: {message}", file=sys.stderr)
    return code


def _shown(
    args: argparse.Namespace,
    command: Command,
    plan: MemoryPlan,
    devices: tuple[PlanDevice, ...],
    header: GgufHeader | None,
) -> str:
    if args.json:
        from kvtop.views.export.plan_json import plan_text  # noqa: PLC0415

        return plan_text(plan, explain=args.explain)
    from kvtop.views.export.plan_tree import plan_tree  # noqa: PLC0415

    largest = _largest_context(command, header, devices) if header is not None and devices else None
    return plan_tree(plan, devices, explain=args.explain, largest_context_tokens=largest)


def _devices(specs: list[str]) -> tuple[PlanDevice, ...]:
    if specs:
        return parse_gpu_specs(specs)
    from kvtop.sources.devices import device_reader  # noqa: PLC0415  the driver, only when nothing was said

    devices, _ = device_reader().read_once(DRIVER_SECONDS)
    cards = [device for device in devices if device.backend != "host"]
    return tuple(
        PlanDevice(
            name=f"gpu{index}",
            total_bytes=card.memory.total_bytes,
            free_bytes=card.memory.free_bytes,
            compute_capability=card.compute_capability,
            backend="cuda" if card.backend == "nvml" else "unknown",
            product=card.name,
        )
        for index, card in enumerate(cards)
    )


def _answer(command: Command, devices: tuple[PlanDevice, ...]) -> tuple[MemoryPlan | Refusal, GgufHeader | None]:
    if command.engine == "llama.cpp":
        return _llamacpp(command, devices)
    from kvtop.sources.model_files.huggingface import read_checkpoint  # noqa: PLC0415

    directory = _checkpoint_directory(command)
    checkpoint = read_checkpoint(directory)
    if command.engine == "vllm":
        from kvtop.planning.vllm.planner import plan_command  # noqa: PLC0415

        return plan_command(command.words, checkpoint, devices, _config_yaml(command.words)), None
    raise UnknownArchitectureError("kvtop has no rules for MLX yet")


def _llamacpp(command: Command, devices: tuple[PlanDevice, ...]) -> tuple[MemoryPlan | Refusal, GgufHeader | None]:
    from kvtop.planning.llamacpp.options import parse_llama_server, settings_of  # noqa: PLC0415
    from kvtop.planning.llamacpp.planner import plan  # noqa: PLC0415

    options = parse_llama_server(command.words, dict(command.variables))
    settings = settings_of(options)
    if isinstance(settings, Refusal):
        return settings, None
    header = _gguf(settings.model_path, options.value("hf-repo"), options.value("hf-file"))
    draft = _gguf(settings.draft.model_path, None, None) if settings.draft is not None else None
    return plan(header, settings, devices, draft), header


def _gguf(path: str | None, repository: str | None, file: str | None) -> GgufHeader:
    from kvtop.sources.model_files.gguf import read_gguf  # noqa: PLC0415
    from kvtop.sources.model_files.locate import locate_file, locate_hf  # noqa: PLC0415
    from kvtop.sources.model_files.vantage import ModelNotFoundError, Vantage  # noqa: PLC0415

    here = Vantage(cwd=str(Path.cwd()), environ=dict(os.environ))
    try:
        if path is not None:
            located = locate_file(path, here)
        elif repository is not None:
            located = locate_hf(repository, here, file=file)
        else:
            raise _UsageError("the command names no model: give llama-server -m FILE or -hf USER/REPO")
    except ModelNotFoundError as error:
        raise _UsageError(str(error)) from error
    return read_gguf(located.path, parts=located.parts)


def _checkpoint_directory(command: Command) -> str:
    from kvtop.sources.model_files.locate import locate_checkpoint  # noqa: PLC0415
    from kvtop.sources.model_files.vantage import ModelNotFoundError, Vantage  # noqa: PLC0415

    name = _model_name(command)
    if name is None:
        raise _UsageError("the command names no model: give its directory or its id on the hub")
    try:
        return locate_checkpoint(name, Vantage(cwd=str(Path.cwd()), environ=dict(os.environ))).path
    except ModelNotFoundError as error:
        raise _UsageError(str(error)) from error


def _model_name(command: Command) -> str | None:
    if command.engine == "vllm":
        from kvtop.planning.vllm.options import parse_serve_options  # noqa: PLC0415

        return parse_serve_options(command.words, config_yaml=_config_yaml(command.words)).value("model")
    for index, word in enumerate(command.words):
        name, equals, value = word.partition("=")
        if len(name) > 4 and "--model".startswith(name):
            return value if equals else command.words[index + 1] if index + 1 < len(command.words) else None
    return None


def _config_yaml(words: tuple[str, ...]) -> str | None:
    """The text of vLLM's `--config FILE`, which is part of the command line."""
    for index, word in enumerate(words):
        path = word.removeprefix("--config=") if word.startswith("--config=") else None
        if word == "--config" and index + 1 < len(words):
            path = words[index + 1]
        if path is not None:
            return Path(path).read_text(encoding="utf-8")
    return None


def _largest_context(command: Command, header: GgufHeader, devices: tuple[PlanDevice, ...]) -> int | None:
    """The largest `-c` up to the trained context for which every card holds its share; 0 when none does."""
    from kvtop.planning.llamacpp.options import parse_llama_server, settings_of  # noqa: PLC0415
    from kvtop.planning.llamacpp.planner import plan  # noqa: PLC0415
    from kvtop.planning.llamacpp.prepared import prepare  # noqa: PLC0415

    settings = settings_of(parse_llama_server(command.words, dict(command.variables)))
    if isinstance(settings, Refusal) or settings.draft is not None:
        return None
    prepared = prepare(header)

    def fits(tokens: int) -> bool:
        answer = plan(prepared, replace(settings, ctx_tokens=tokens, fit=False), devices)
        return isinstance(answer, MemoryPlan) and all(_holds(answer, device) for device in devices)

    trained = header.metadata.get(f"{header.architecture}.context_length")
    high = max(trained // _STEP_TOKENS, 1) if isinstance(trained, int) else 4096
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle * _STEP_TOKENS) else (low, middle - 1)
    return low * _STEP_TOKENS


def _holds(plan: MemoryPlan, device: PlanDevice) -> bool:
    part = plan.device(device.name)
    room = device.free_bytes if device.free_bytes is not None else device.total_bytes
    if part is None or room is None:
        return True
    exact = (part.weights_bytes or 0) + (part.kv_cache_bytes or 0) + part.recurrent_state_bytes + part.output_bytes
    return exact + part.compute.high_bytes <= room
