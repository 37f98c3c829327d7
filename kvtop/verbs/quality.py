"""`kvtop quality -- llama-server …`: what quantized cache types do to this model, measured on the user's own text."""

import argparse
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kvtop.analysis.quality_verdict import quality_verdict
from kvtop.app.plan import PlanRequest, UsageError
from kvtop.app.plan.llamacpp import ReadCommand, open_llamacpp
from kvtop.app.plan.own_evidence import add_own_evidence, read_own_evidence
from kvtop.app.plan.started import as_started
from kvtop.domain.answers.evidence import Measurement
from kvtop.domain.model_file import ModelFileError, SkippedArray
from kvtop.domain.plan import MalformedModelError, NoExactRuleError, Refusal
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.planning.commands.command import parse_command, typed_words
from kvtop.planning.llamacpp.flash_attention import shapes_of_model
from kvtop.planning.llamacpp.perplexity import (
    LEAST_TOKENS,
    MeasuredModel,
    PerplexityRun,
    base_arguments,
    chunks_done,
    measurements,
    pair_arguments,
    rotation_of,
)
from kvtop.planning.registry import traits_of
from kvtop.sources.redaction.redact import clean
from kvtop.sources.tools.perplexity import TOOL, PerplexityError, find_perplexity, perplexity_version, run_perplexity
from kvtop.text import UnusableTextError, bytes_text
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.help_page import HelpPage

DEFAULT_CONTEXT, DEFAULT_CHUNKS, DEFAULT_PAIR = 2048, 4, ("q8_0", "q8_0")
_TEXT = "YOUR-TEXT.txt"
_UNQUANTIZED = frozenset({"f16", "bf16", "f32"})

PAGE = HelpPage(
    """\
Compares the cache types of the command (or of --types) with f16 by llama-perplexity --kl-divergence. Without --run it
only prints the commands. With --run it loads the model a second time, beside a server that may be running: take care
that there is room. The result goes to $XDG_DATA_HOME/kvtop/quality.json (~/.local/share) and is then preferred to what
others measured; your text is not kept.""",
    {
        exit_codes.OK: "printed or measured",
        exit_codes.FAILED: "the tool is missing or failed",
        exit_codes.USAGE: "bad usage, an unreadable model or text",
        exit_codes.REFUSED: "the server would refuse these options",
        exit_codes.NO_RULE: "no exact rule for this engine or model",
    },
    (
        ("which commands it would run", "kvtop quality --types q8_0/q4_0 -- llama-server -m model.gguf"),
        (
            "measure two pairs",
            "kvtop quality --run --text notes.txt --types q8_0/q8_0 --types q8_0/q4_0 -- llama-server -m model.gguf",
        ),
    ),
    ("XDG_DATA_HOME", "LLAMA_ARG_*"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--run", dest="measures", action="store_true", help="measure now")
    parser.add_argument("--text", metavar="FILE", help="text like what the server works on; needed with --run")
    parser.add_argument(
        "--types",
        action="append",
        default=[],
        type=_pair,
        metavar="K/V",
        help="types to compare: q8_0/q4_0; repeatable",
    )
    parser.add_argument("--context", type=_count, default=DEFAULT_CONTEXT, metavar="TOKENS", help="of a chunk (2048)")
    parser.add_argument("--chunks", type=_count, default=DEFAULT_CHUNKS, metavar="N", help="chunks of text (4)")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="a llama-server command")


def _pair(text: str) -> tuple[str, str]:
    type_k, slash, type_v = text.partition("/")
    if not slash or type_k not in CACHE_TYPES or type_v not in CACHE_TYPES:
        raise argparse.ArgumentTypeError(f"{text!r} is no K/V pair of {', '.join(CACHE_TYPES)}")
    return type_k, type_v


def _count(text: str) -> int:
    from kvtop.text import parse_tokens  # noqa: PLC0415  only where it is given

    try:
        count = parse_tokens(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if count < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return count


def run(args: argparse.Namespace) -> int:
    """Print or measure. Returns the exit code of the help."""
    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    try:
        request = as_started(
            PlanRequest(command=parse_command(typed_words(words, os.environ)), environ=dict(os.environ))
        )
        traits = traits_of(request.command.engine)
        if traits is None or not traits.cache_quality_tool:
            raise UsageError(f"no tool compares cache types of {request.command.engine}: give a llama-server command")
        read = open_llamacpp(request)
        if isinstance(read, Refusal):
            return _fail(f"llama.cpp would refuse to start: {read.message}", exit_codes.REFUSED)
        return _measure(args, request, read)
    except MalformedModelError as error:
        return _fail(f"malformed model file: {error}", exit_codes.USAGE)
    except NoExactRuleError as error:
        return _fail(f"no exact rule: {error}", exit_codes.NO_RULE)
    except (UsageError, UnusableTextError, ModelFileError) as error:
        return _fail(str(error), exit_codes.USAGE)
    except (PerplexityError, OSError) as error:
        return _fail(str(error), exit_codes.FAILED)


def _measure(args: argparse.Namespace, request: PlanRequest, read: ReadCommand) -> int:
    pairs = tuple(args.types) or (_typed_pair(read),)
    text_path = _text_path(args)
    with tempfile.TemporaryDirectory(prefix="kvtop-quality-") as folder:
        base_path = str(Path(folder) / "base.kld") if args.measures else "base.kld"
        asked = PerplexityRun(read.header.path, text_path, base_path, args.context, args.chunks)
        if asked.scored_tokens < LEAST_TOKENS:
            raise UsageError(
                f"{asked.scored_tokens} tokens would be scored, and below {LEAST_TOKENS} the tool gives no statistics: "
                "give more --chunks or --context"
            )
        if not args.measures:
            return _print(request, read, asked, pairs)
        tool = find_perplexity(request.command.program, request.environment)
        _check_room(asked, read, folder)
        # A file that cannot be added to is told before the minutes of measuring, not after.
        problems = read_own_evidence(os.environ)[1]
        if problems:
            raise UsageError(problems[0])
        found = _run_all(request, read, asked, pairs, tool)
    path = add_own_evidence(os.environ, found)
    for it in found:
        print(f"{it.type_k}/{it.type_v}  {it.metric.replace('_', ' ')} {it.value:g} {it.unit} {it.note}")
        if it.metric == "kl_divergence":
            print(f"{it.type_k}/{it.type_v}  {quality_verdict(it)}")
    print(f"kept in {path}", file=sys.stderr)
    return exit_codes.OK


def _typed_pair(read: ReadCommand) -> tuple[str, str]:
    pair = read.settings.type_k, read.settings.type_v
    return DEFAULT_PAIR if set(pair) <= _UNQUANTIZED else pair


def _text_path(args: argparse.Namespace) -> str:
    if args.text is None:
        if args.measures:
            raise UsageError("--run needs --text FILE: a text like what the server works on, at least twice --context")
        return _TEXT
    path = Path(args.text)
    try:
        with path.open("rb"):
            return str(path)
    except OSError as error:
        raise UsageError(f"--text {args.text}: {error.strerror}") from error


def _words(read: ReadCommand) -> int:
    tokens = read.header.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, SkippedArray):
        return tokens.length
    return len(tokens) if isinstance(tokens, tuple) else read.model.hparams.n_vocab


def _check_room(asked: PerplexityRun, read: ReadCommand, folder: str) -> None:
    needed, free = asked.base_bytes(_words(read)), shutil.disk_usage(folder).free
    if needed > free:
        raise UsageError(
            f"{folder} has {bytes_text(free)} free and the comparison keeps {bytes_text(needed)}: fewer --chunks, "
            "or another TMPDIR"
        )


def _print(request: PlanRequest, read: ReadCommand, asked: PerplexityRun, pairs: tuple[tuple[str, str], ...]) -> int:
    try:
        tool = find_perplexity(request.command.program, request.environment)
        note = ""
    except PerplexityError as error:
        tool, note = TOOL, str(error)
    print(clean(shlex.join([tool, *base_arguments(asked, read.options)])))
    for type_k, type_v in pairs:
        print(clean(shlex.join([tool, *pair_arguments(asked, read.options, type_k, type_v)])))
    size = bytes_text(asked.base_bytes(_words(read)))
    print(f"{asked.scored_tokens} tokens are scored; base.kld takes {size}; --run does it", file=sys.stderr)
    if note:
        print(f"note: {note}", file=sys.stderr)
    return exit_codes.OK


def _run_all(
    request: PlanRequest, read: ReadCommand, asked: PerplexityRun, pairs: tuple[tuple[str, str], ...], tool: str
) -> list[Measurement]:
    """The reference, then every pair. Raises PerplexityError."""
    environ = request.environment
    hparams = read.model.hparams
    lengths = frozenset(length for shape in shapes_of_model(hparams) for length in shape[:2])
    version = perplexity_version(tool, environ)
    about = MeasuredModel(
        clean(read.model.name),
        clean(read.header.architecture or ""),
        rotation_of(environ.get("LLAMA_ATTN_ROT_DISABLE"), lengths, hparams.is_mla),
        TOOL if version is None else f"{TOOL} {clean(version)}",
        time.gmtime().tm_year,
    )
    tell = _progress("f16/f16, the reference", asked)
    printed = run_perplexity(tool, base_arguments(asked, read.options), environ, tell)
    done = chunks_done(printed)
    if done < 1 or replace(asked, chunks=done).scored_tokens < LEAST_TOKENS:
        raise UsageError(f"{asked.text_path}: too short for chunks of {asked.ctx_tokens} tokens; it takes two or more")
    asked = replace(asked, chunks=done)
    found: list[Measurement] = []
    for type_k, type_v in pairs:
        arguments = pair_arguments(asked, read.options, type_k, type_v)
        printed = run_perplexity(tool, arguments, environ, _progress(f"{type_k}/{type_v}", asked))
        try:
            found += measurements(printed, asked, about, type_k, type_v)
        except UnusableTextError as error:
            raise PerplexityError(f"{type_k}/{type_v}: {error}") from error
    return found


def _progress(what: str, asked: PerplexityRun) -> Callable[[str], None]:
    """One line a finished chunk, on standard error."""
    print(f"{what}: {asked.chunks} chunks of {asked.ctx_tokens} tokens", file=sys.stderr, flush=True)
    told = 0
    started = time.monotonic()

    def tell(printed: str) -> None:
        nonlocal told
        done = min(chunks_done(printed), asked.chunks)
        if done > told:
            told = done
            left = (time.monotonic() - started) / done * (asked.chunks - done)
            rest = f", {left:.0f} s left" if done < asked.chunks else ""
            print(f"{what}: {done} of {asked.chunks}{rest}", file=sys.stderr, flush=True)

    return tell


def _fail(message: str, code: int) -> int:
    print(f"kvtop quality: {clean(message)}", file=sys.stderr)
    return code
