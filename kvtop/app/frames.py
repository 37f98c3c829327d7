"""From flags, environment and file to Frames: the one place where sources, analysis and views are wired."""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from kvtop import __version__
from kvtop.analysis.analyse import History, analyse
from kvtop.analysis.lint.finding_memory import FindingMemory
from kvtop.analysis.lint.result import Suppression
from kvtop.app.flags import config_of, suppressions_of, warn
from kvtop.config import Config, ConfigError, api_key, check_url, environment
from kvtop.domain.frame import Frame
from kvtop.domain.sample import Sample
from kvtop.io.daemon_thread import NoThreadError, in_daemon_thread
from kvtop.io.fault_reports import contained
from kvtop.io.limits import limited
from kvtop.sources.poller import Poller, PollerOptions

if TYPE_CHECKING:
    from kvtop.analysis.anonymize import Pseudonyms
    from kvtop.sources.demo import Scenario
    from kvtop.sources.fleet import Fleet, FleetOptions

__all__ = ["config_of", "suppressions_of", "warn"]  # what every verb needs, from its light place

WARM_UP_SECONDS = 8.0
"""The second of a scenario that a snapshot shows: requests are running and rates exist."""
APART_SECONDS = 2.2
"""Between two looks: growth is told from two seconds on."""


def poller_options(args: argparse.Namespace, config: Config) -> PollerOptions:
    """What the poller is to watch. Raises ConfigError for a URL that is none."""
    environ = environment()
    urls = [(server.url, api_key(server, environ)) for server in config.servers]
    for url in args.url:
        check_url(url, "--url")
        urls.append((url, environ.get("KVTOP_API_KEY")))
    return PollerOptions(
        interval_seconds=config.interval_seconds,
        urls=tuple(urls),
        api_key=environ.get("KVTOP_API_KEY"),
        discover=config.discover,
    )


def fleet_options(args: argparse.Namespace, config: Config) -> "FleetOptions":
    """Which metrics server to ask. Raises ConfigError for a URL that is none."""
    from kvtop.sources.fleet import REFRESH_SECONDS, FleetOptions  # noqa: PLC0415  only with --prometheus

    check_url(args.prometheus, "--prometheus")
    if args.demo is not None or args.url:
        raise ConfigError("--prometheus: shows a cluster, --url and --demo something else; give one of them")
    environ = environment()
    return FleetOptions(
        args.prometheus,
        max(config.interval_seconds, REFRESH_SECONDS) if args.interval is None else args.interval,
        environ.get("KVTOP_PROMETHEUS_TOKEN"),
        environ.get("KVTOP_PROMETHEUS_TENANT"),
    )


def new_history(suppressions: tuple[Suppression, ...] = ()) -> History:
    """No ticks yet; faults are written down, and the work on each server has its limits."""
    return History(findings=FindingMemory(suppressions), report=contained, limited=limited)


async def analysed_aside(history: History, sample: Sample, besides: Callable[[], None] | None = None) -> Frame:
    """The Frame of a Sample, computed in a thread: keys and signals do not wait for what a stranger's values take.

    `besides` is done in the same thread, before.
    """

    def both() -> Frame:
        if besides is not None:
            besides()
        return analyse(history, sample, __version__)

    try:
        return await in_daemon_thread(both)
    except NoThreadError:
        return both()


def frames(
    samples: Callable[[], AsyncIterator[Sample]],
    suppressions: tuple[Suppression, ...] = (),
    note: Callable[[Sample, Frame], None] | None = None,
    besides: Callable[[], None] | None = None,
) -> Callable[[], AsyncIterator[Frame]]:
    """The same iterator, analysed. `note` is told of every Sample and its Frame before the Frame goes on.

    `besides` is what else may wait for a disk, each tick, in a thread of its own.
    """

    async def analysed() -> AsyncIterator[Frame]:
        history = new_history(suppressions)
        async for sample in samples():
            frame = await analysed_aside(history, sample, besides)
            if note is not None:
                note(sample, frame)
            yield frame

    return analysed


def samples_of(args: argparse.Namespace, config: Config) -> Callable[[], AsyncIterator[Sample]]:
    """Samples of this host, or of a scenario with `--demo`. Raises ConfigError for a scenario that is none."""
    if args.prometheus is not None:
        from kvtop.sources.fleet import Fleet  # noqa: PLC0415  only with --prometheus

        fleet = Fleet(fleet_options(args, config))
        return lambda: _named(args, fleet.samples())
    if args.demo is None:
        poller = Poller(poller_options(args, config))
        return lambda: _named(args, poller.samples())
    from kvtop.sources.demo import play  # noqa: PLC0415  only with --demo

    chosen = _scenario(args)
    return lambda: _named(args, play(chosen, config.interval_seconds))


async def timed_samples(args: argparse.Namespace, config: Config) -> AsyncIterator[tuple[Sample, float]]:
    """A Sample every interval with the seconds that measuring it took, for ever."""
    names = _pseudonyms(args)
    poller: Poller | Fleet | None = None
    if args.prometheus is not None:
        from kvtop.sources import fleet  # noqa: PLC0415  only with --prometheus

        poller = fleet.Fleet(fleet_options(args, config))
    elif args.demo is None:
        poller = Poller(poller_options(args, config))
    chosen = None if poller is not None else _scenario(args)
    first = time.monotonic()
    while True:
        started = time.monotonic()
        sample = await poller.sample() if poller is not None else _at(chosen, started - first)
        took_seconds = time.monotonic() - started
        yield (sample if names is None else names.anonymised(sample)), took_seconds
        await asyncio.sleep(max(config.interval_seconds - (time.monotonic() - started), 0.05))


def _at(chosen: "Scenario | None", second: float) -> Sample:
    assert chosen is not None, "either a host or a scenario"
    return chosen.at(second)


def first_samples(args: argparse.Namespace, config: Config, looks: int = 1) -> tuple[Sample, ...]:
    """What one look needs: a Sample of this host, or seconds 7 and 8 of a scenario, so that it has rates.

    With more `looks` at this host, they are far enough apart for growth to be told.
    """
    if args.prometheus is not None:
        from kvtop.sources.fleet import take_fleet_sample  # noqa: PLC0415  only with --prometheus

        taken: tuple[Sample, ...] = (take_fleet_sample(fleet_options(args, config)),)
    elif args.demo is None:
        from kvtop.sources.poller import take_samples  # noqa: PLC0415  replays and demos look at no host

        taken = take_samples(poller_options(args, config), looks, APART_SECONDS)
    else:
        chosen = _scenario(args)
        taken = tuple(chosen.at(second) for second in (WARM_UP_SECONDS - 1, WARM_UP_SECONDS))
    names = _pseudonyms(args)
    return taken if names is None else tuple(map(names.anonymised, taken))


def scenario_samples(args: argparse.Namespace, config: Config, seconds: float) -> Iterator[Sample]:
    """So many seconds of a scenario at once, from its first; nobody waits for an invented host."""
    chosen, names = _scenario(args), _pseudonyms(args)
    for tick in range(int(seconds / config.interval_seconds) + 1):
        sample = chosen.at(tick * config.interval_seconds)
        yield sample if names is None else names.anonymised(sample)


def one_frame(args: argparse.Namespace, config: Config, looks: int = 1) -> Frame:
    """One frame of this host, or second 8 of a scenario."""
    return last_frame(first_samples(args, config, looks), suppressions_of(config))


def last_frame(samples: Iterable[Sample], suppressions: tuple[Suppression, ...] = ()) -> Frame:
    """The frame of the last of these; those before it give it its rates. Raises ValueError when there is none."""
    history = new_history(suppressions)
    frame = None
    for sample in samples:
        frame = analyse(history, sample, __version__)
    if frame is None:
        raise ValueError("no sample, so no frame")
    return frame


def _scenario(args: argparse.Namespace) -> "Scenario":
    from kvtop.sources.demo import SCENARIOS, scenario  # noqa: PLC0415  only with --demo

    try:
        return scenario(args.demo) if args.demo else SCENARIOS[0]
    except KeyError as error:
        raise ConfigError(f"--demo: {error.args[0]}") from error


def _pseudonyms(args: argparse.Namespace) -> "Pseudonyms | None":
    if not getattr(args, "anonymize", False):
        return None
    from kvtop.analysis.anonymize import Pseudonyms  # noqa: PLC0415  only with --anonymize

    return Pseudonyms()


async def _named(args: argparse.Namespace, samples: AsyncIterator[Sample]) -> AsyncIterator[Sample]:
    """The samples as they are, or under other names with `--anonymize`."""
    names = _pseudonyms(args)
    async for sample in samples:
        yield sample if names is None else names.anonymised(sample)
