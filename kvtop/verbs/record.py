"""`kvtop record FILE`: raw measurements to a file, without a terminal, until told to stop."""

import argparse
import asyncio
import math
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from kvtop import __version__
from kvtop.app.frames import config_of, samples_of, warn
from kvtop.config import ConfigError
from kvtop.domain.sample import Sample
from kvtop.sources.recordings.encoding import Info
from kvtop.sources.recordings.framing import RecordingError
from kvtop.sources.recordings.writer import RecordingWriter
from kvtop.text import bytes_text, parse_bytes, parse_duration
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.crash import leave
from kvtop.verbs.command_line.help_page import WATCHING, HelpPage
from kvtop.verbs.command_line.watch_options import add_anonymize, add_watching

_SMALLEST_BYTES = 64 * 1024
_STOPS = ("SIGTERM", "SIGINT", "SIGHUP")

_Samples = Callable[[], AsyncIterator[Sample]]

PAGE = HelpPage(
    """\
Writes raw measurements to a file that `kvtop replay` plays. It stops at --duration, at --max-size, or on Ctrl-C,
SIGTERM or SIGHUP; the file is whole in every case. After a crash or on a full disk everything before can be read.""",
    {
        exit_codes.OK: "stopped as asked",
        exit_codes.FAILED: "the file could not be written",
        exit_codes.USAGE: "bad usage or configuration",
    },
    (
        ("ten minutes of this machine", "kvtop record --duration 10m load-test.kvtop"),
        ("until it is 100 MiB, without names", "kvtop record --max-size 100MiB --anonymize night.kvtop"),
    ),
    WATCHING,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("file", metavar="FILE", help="a new file; the suffix .kvtop is customary")
    add_watching(parser)
    parser.add_argument("--duration", metavar="TIME", help="stop after this time: 90s, 10m, 1h30m")
    parser.add_argument("--max-size", metavar="SIZE", help="stop before the file exceeds this: 100MiB, 1GiB")
    add_anonymize(parser)


def run(args: argparse.Namespace) -> int:
    """Record and leave. Never waits for a thread that hangs inside a driver."""
    config = config_of(args)
    duration_seconds = _duration(args.duration)
    max_bytes = _size(args.max_size)
    info = Info(__version__, config.interval_seconds, args.anonymize)
    samples = samples_of(args, config)  # before the file: bad words leave nothing behind
    try:
        writer = RecordingWriter(Path(args.file), info, max_bytes=max_bytes)
        code = asyncio.run(_record(samples, writer, duration_seconds))
    except RecordingError as error:
        warn(str(error))
        leave(exit_codes.FAILED)
    warn(f"{writer.ticks} ticks in {bytes_text(writer.size_bytes)} to {writer.path}" + _why(writer))
    leave(code)


async def _record(samples: _Samples, writer: RecordingWriter, duration_seconds: float) -> int:
    """Until the time is over, the file is full or a signal comes; whatever happens the file is closed."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in _STOPS:
        loop.add_signal_handler(getattr(signal, name), stop.set)
    writing = asyncio.create_task(_write(samples, writer))
    stopping = asyncio.create_task(stop.wait())
    timeout = None if math.isinf(duration_seconds) else duration_seconds
    try:
        await asyncio.wait({writing, stopping}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if writing.done():
            writing.result()
        return 0
    finally:
        writing.cancel()
        stopping.cancel()
        writer.close()


async def _write(samples: _Samples, writer: RecordingWriter) -> None:
    async for sample in samples():
        if not writer.write(sample):
            return


def _why(writer: RecordingWriter) -> str:
    return "; stopped at --max-size" if writer.is_full else ""


def _duration(text: str | None) -> float:
    if text is None:
        return math.inf
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"--duration: {error}") from error
    if seconds <= 0:
        raise ConfigError(f"--duration: must be more than 0, got {text}")
    return seconds


def _size(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        size_bytes = parse_bytes(text)
    except ValueError as error:
        raise ConfigError(f"--max-size: {error}") from error
    if size_bytes < _SMALLEST_BYTES:
        raise ConfigError(f"--max-size: must be {bytes_text(_SMALLEST_BYTES)} or more, got {text}")
    return size_bytes
