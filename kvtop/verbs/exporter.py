"""`kvtop exporter`: what kvtop sees as metrics, for Prometheus to scrape or node_exporter to pick up."""

import argparse
import asyncio
import math
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from kvtop.app.frames import analysed_aside, config_of, new_history, timed_samples, warn
from kvtop.config import Config, ConfigError
from kvtop.domain.frame import Frame
from kvtop.domain.sample import Failure
from kvtop.io.atomic_write import write_atomic
from kvtop.io.metrics_server import PATH, MetricsServer, Page
from kvtop.io.web_config import WebConfig, WebConfigError, read_web_config
from kvtop.text import PORT_MAX, plain_number
from kvtop.verbs.command_line import exit_codes
from kvtop.verbs.command_line.crash import leave
from kvtop.verbs.command_line.help_page import WATCHING, HelpPage
from kvtop.verbs.command_line.watch_options import add_anonymize, add_watching
from kvtop.views.export.metrics.exposition import OPENMETRICS_TYPE, TEXT_TYPE, openmetrics, text_format
from kvtop.views.export.metrics.families import Family, collection_families, families

LISTEN = "127.0.0.1:9941"
INTERVAL_SECONDS = 5.0
_STALE_INTERVALS, _STALE_SECONDS = 3, 10.0

PAGE = HelpPage(
    f"""\
What kvtop sees as Prometheus metrics. Without --listen and --textfile it listens on {LISTEN}. It measures every
{INTERVAL_SECONDS:.0f} s unless --interval says otherwise; a scrape is answered from memory. Unknown series are left
out. The textfile is removed at the end, so that old numbers are not taken for new ones.""",
    {
        exit_codes.OK: "stopped by a signal",
        exit_codes.FAILED: "the address cannot be listened on, or the file cannot be written",
        exit_codes.USAGE: "bad usage or configuration",
    },
    (
        ("serve /metrics on loopback", "kvtop exporter"),
        ("for every network interface", "kvtop exporter --listen 0.0.0.0:9941"),
        ("for node_exporter", "kvtop exporter --textfile /var/lib/node_exporter/kvtop.prom"),
    ),
    WATCHING,
)


@dataclass(slots=True)
class Latest:
    """The last frame, for the threads that answer. Old frames are not told: a stuck exporter must look like one."""

    stale_seconds: float
    frame: Frame | None = None
    at: float = -math.inf
    duration_seconds: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _pages: dict[str, tuple[float, Page]] = field(default_factory=dict)

    def put(self, frame: Frame, duration_seconds: float) -> None:
        """A new frame."""
        with self.lock:
            self.frame, self.at, self.duration_seconds = frame, time.monotonic(), duration_seconds
            self.errors.update(_source(failure) for failure in frame.failures)

    def families(self) -> tuple[Family, ...] | None:
        """All families of it; None where there is no frame, or only an old one."""
        with self.lock:
            if self.frame is None or time.monotonic() - self.at > self.stale_seconds:
                return None
            return (*families(self.frame), *collection_families(self.duration_seconds, dict(self.errors)))

    def page(self, accept: str) -> Page:
        """The answer to a scrape; rendered once for a frame, however many ask."""
        wanted = OPENMETRICS_TYPE if "application/openmetrics-text" in accept else TEXT_TYPE
        known = self._pages.get(wanted)
        if known is not None and known[0] == self.at and time.monotonic() - self.at <= self.stale_seconds:
            return known[1]
        at, listed = self.at, self.families()
        if listed is None:
            return Page(b"nothing has been measured lately\n", "text/plain", 503)
        text = openmetrics(listed) if wanted == OPENMETRICS_TYPE else text_format(listed)
        page = Page(text.encode(), wanted)
        self._pages[wanted] = at, page
        return page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    add_watching(parser)
    parser.add_argument("--listen", metavar="ADDRESS:PORT", help=f"serve /metrics there (default: {LISTEN})")
    parser.add_argument("--textfile", metavar="FILE", help="write this file again and again, for node_exporter (.prom)")
    parser.add_argument(
        "--web.config.file",
        dest="web_config",
        metavar="FILE",
        help="TLS and basic authentication, as exporters of Prometheus take them (docs/security.md)",
    )
    add_anonymize(parser)


def run(args: argparse.Namespace) -> int:
    """Export until a signal comes."""
    if args.interval is None:
        args.interval = INTERVAL_SECONDS
    config = config_of(args)
    latest = Latest(max(_STALE_INTERVALS * config.interval_seconds, _STALE_SECONDS))
    if args.listen is not None or args.textfile is None:
        _listen(args.listen or LISTEN, latest, _web(args.web_config))
    elif args.web_config is not None:
        raise ConfigError("--web.config.file: a textfile is served by node_exporter, which has a file of its own")
    try:
        code = 0
        asyncio.run(_measure(args, config, latest))
    except OSError as error:
        place = f"{args.textfile}: cannot be written: " if args.textfile is not None else ""
        warn(f"{place}{error.strerror or error}")
        code = exit_codes.FAILED
    finally:
        if args.textfile is not None and latest.frame is not None:
            _remove(Path(args.textfile))
    leave(code)


def _remove(textfile: Path) -> None:
    """What was written here, and nothing else: /dev/stdout stays, which may well lead to a file."""
    places = {str(textfile), str(textfile.readlink()) if textfile.is_symlink() else ""}
    if not any(place.startswith(("/dev/", "/proc/")) for place in places) and textfile.is_file():
        textfile.unlink(missing_ok=True)


def _web(path: str | None) -> WebConfig:
    """Raises ConfigError."""
    try:
        return WebConfig() if path is None else read_web_config(Path(path))
    except WebConfigError as error:
        raise ConfigError(f"--web.config.file {path}: {error}") from error


def _listen(address: str, latest: Latest, web: WebConfig) -> None:
    """Answer from now on; leaves with the exit code where nobody can listen there. Raises ConfigError."""
    host, port = _address(address)
    try:
        server = MetricsServer(host, port, latest.page, web)
        server.start()
    except OSError as error:
        warn(f"--listen {address}: {error.strerror or error}")
        leave(exit_codes.FAILED)
    shown = f"[{host}]" if ":" in host else host
    scheme = "http" if web.tls is None else "https"
    warn(f"listening on {scheme}://{shown}:{server.port}{PATH}")


async def _measure(args: argparse.Namespace, config: Config, latest: Latest) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    measuring = asyncio.create_task(_follow(args, config, latest))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({measuring, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if measuring.done():
        measuring.result()
    measuring.cancel()


async def _follow(args: argparse.Namespace, config: Config, latest: Latest) -> None:
    history = new_history()
    async for sample, took_seconds in timed_samples(args, config):
        latest.put(await analysed_aside(history, sample), took_seconds)
        if args.textfile is not None:
            listed = latest.families()
            if listed is not None:
                write_atomic(Path(args.textfile), text_format(listed).encode())


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    number = plain_number(port, PORT_MAX)
    if not colon or number is None:
        raise ConfigError(f"--listen: must be ADDRESS:PORT such as {LISTEN} or [::1]:9941, got {text!r}")
    return host.removeprefix("[").removesuffix("]"), number


def _source(failure: Failure) -> str:
    """The kind of source behind a failure: never its pid or its address, which would be new series for ever."""
    name = failure.source
    first = name.partition(" ")[0]
    if failure.is_of_driver or first == "docker":
        return first
    if first in {"pid", "processes"}:
        return "proc"
    if first == "server" or name.startswith(("http://", "https://")):
        return "endpoint"
    return "model_file" if first == "model" or first.startswith("/") else "other"
