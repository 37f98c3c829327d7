"""`kvtop report`: what one attaches to a bug report, in one archive that `kvtop replay` plays."""

import argparse
import asyncio
import io
import signal
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from kvtop import __version__
from kvtop.app.checkups import checkup_of
from kvtop.app.frames import analysed_aside, config_of, new_history, samples_of, warn
from kvtop.config import Config, ConfigError, environment
from kvtop.domain.frame import Frame
from kvtop.domain.sample import Sample
from kvtop.io.atomic_write import write_atomic
from kvtop.sources.recordings.encoding import Info
from kvtop.sources.recordings.framing import RecordingError
from kvtop.sources.recordings.reader import MEMBER
from kvtop.sources.recordings.writer import RecordingWriter
from kvtop.sources.system_facts import system_facts
from kvtop.text import bytes_text, visible
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.crash import leave
from kvtop.verbs.command_line.help_page import WATCHING, HelpPage
from kvtop.verbs.command_line.watch_options import add_anonymize, add_watching
from kvtop.views.demo_mark import DEMO_SENTENCE
from kvtop.views.export.snapshot.formats import render
from kvtop.views.text.checkup_text import checkup_text

SECONDS = 60.0
_DOCUMENTS = (("snapshot.md", "markdown"), ("snapshot.json", "json"), ("overview.svg", "svg"))
_SUFFIX = ".zip"


PAGE = HelpPage(
    """\
Measures for a minute and writes one archive for a bug report: a snapshot as Markdown, JSON and picture, what `kvtop
doctor` says, versions of the system, and a recording that `kvtop replay` plays. Secrets are masked; --anonymize
replaces names too. Nothing is sent anywhere.""",
    {
        exit_codes.OK: "written",
        exit_codes.FAILED: "the archive could not be written",
        exit_codes.USAGE: "bad usage or configuration",
    },
    (
        ("a report without names", "kvtop report --anonymize"),
        ("ten seconds are enough", "kvtop report --seconds 10 -o slow-start.zip"),
    ),
    WATCHING,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    add_watching(parser)
    name = f"kvtop-report-TIME{_SUFFIX}"
    parser.add_argument("-o", "--output", metavar="FILE", help=f"the archive (default: {name} in this directory)")
    words = f"how long to measure (default: {SECONDS:.0f}); Ctrl-C writes what there is"
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="N", help=words)
    add_anonymize(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, write, leave. Exit code 1: the archive could not be written."""
    config = config_of(args)
    if not 0 < args.seconds <= 3600:
        raise ConfigError(f"--seconds: must be above 0 and at most 3600, got {args.seconds:g}")
    suffix = Path(args.output or "").suffix.lower()
    if suffix not in {"", _SUFFIX}:
        raise ConfigError(f"-o {args.output}: the archive is a {_SUFFIX} file, not {suffix}")
    started = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    output = Path(args.output or f"kvtop-report-{started}{_SUFFIX}")
    if args.demo is None:
        warn(f"measuring for {args.seconds:g} seconds; Ctrl-C writes what there is")
    try:
        content, ticks = asyncio.run(_archive(args, config))
        write_atomic(output, content)
    except RecordingError as error:
        warn(str(error))
        leave(exit_codes.FAILED)
    except OSError as error:
        warn(f"{output}: cannot be written: {error.strerror or error}")
        leave(exit_codes.FAILED)
    note = "" if args.anonymize else "; names of users, hosts, models and containers are in it (--anonymize)"
    mark = f"; {DEMO_SENTENCE}" if args.demo is not None else note
    warn(f"{output}: {bytes_text(len(content))}, {ticks} ticks{mark}")
    leave(0)


async def _archive(args: argparse.Namespace, config: Config) -> tuple[bytes, int]:
    """The archive, and how many ticks its recording has. Raises RecordingError or OSError."""
    with tempfile.TemporaryDirectory(prefix="kvtop-report-") as directory:
        writer = RecordingWriter(Path(directory) / MEMBER, Info(__version__, config.interval_seconds, args.anonymize))
        history, frame, last = new_history(), None, None
        async for sample in _until_over(args, config):
            writer.write(sample)
            frame, last = await analysed_aside(history, sample), sample
        writer.close()
        if frame is None or last is None:
            raise RecordingError("interrupted before anything was measured; no archive was written")
        texts = {"doctor.txt": checkup_text(checkup_of(args, config, last)), "system.txt": _system_text()}
        return _zipped(frame, writer.path, texts), writer.ticks


def _system_text() -> str:
    """What a maintainer asks first: versions, terminal, locale."""
    facts = (("kvtop", __version__), *system_facts(environment()))
    return "".join(f"{visible(name)}: {visible(value)}\n" for name, value in facts)


def _zipped(frame: Frame, recording: Path, texts: Mapping[str, str]) -> bytes:
    target = io.BytesIO()
    texts = {**{name: render(frame, wanted) for name, wanted in _DOCUMENTS}, **texts}
    # A board without a clock of its own starts in 1970, which an archive cannot write.
    now = max(time.localtime()[:6], (1980, 1, 1, 0, 0, 0))
    with zipfile.ZipFile(target, "w", strict_timestamps=False) as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name, now), text, zipfile.ZIP_DEFLATED)
        archive.write(recording, MEMBER, zipfile.ZIP_STORED)  # compressed already
    return target.getvalue()


async def _until_over(args: argparse.Namespace, config: Config) -> AsyncIterator[Sample]:
    """Samples until the time is over or somebody says stop; a scenario is not waited for."""
    if args.demo is not None:
        from kvtop.app.frames import scenario_samples  # noqa: PLC0415

        for sample in scenario_samples(args, config, args.seconds):
            yield sample
        return
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    ends = time.monotonic() + args.seconds
    samples = samples_of(args, config)()
    stopping = asyncio.create_task(stop.wait())
    while not stop.is_set() and time.monotonic() < ends:
        following = asyncio.ensure_future(anext(samples))
        left = max(ends - time.monotonic(), 0.0)
        # One more interval for a tick that has begun: the first one asks everything and may be slow.
        await asyncio.wait({following, stopping}, timeout=left + 5.0, return_when=asyncio.FIRST_COMPLETED)
        if not following.done():
            following.cancel()
            break
        yield following.result()
    stopping.cancel()
