"""From flags, environment and file to Frames: the one place where sources, analysis and views are wired."""

import argparse
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from kvtop import __version__
from kvtop.analysis.analyse import History, analyse
from kvtop.config import Config, ConfigError, api_key, environment, load_config
from kvtop.domain.frame import Frame
from kvtop.domain.sample import Sample
from kvtop.sources.poller import Poller, PollerOptions

WARM_UP_SECONDS = 8.0
"""The second of a scenario that a snapshot shows: requests are running and rates exist."""


def config_of(args: argparse.Namespace) -> Config:
    """File and environment, then this command's flags. Raises ConfigError naming the flag."""
    config = load_config(environment(), args.config)
    if args.interval is not None:
        if args.interval < 0.5:
            raise ConfigError(f"--interval: must be 0.5 or more, got {args.interval:g}")
        config = replace(config, interval_seconds=args.interval)
    return config


def poller_options(args: argparse.Namespace, config: Config) -> PollerOptions:
    """What the poller is to watch. Raises ConfigError for a URL that is none."""
    environ = environment()
    urls = [(server.url, api_key(server, environ)) for server in config.servers]
    for url in args.url:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"--url: must start with http:// or https://, got {url!r}")
        urls.append((url, environ.get("KVTOP_API_KEY")))
    return PollerOptions(
        interval_seconds=config.interval_seconds,
        urls=tuple(urls),
        api_key=environ.get("KVTOP_API_KEY"),
        discover=config.discover,
    )


def frames(samples: Callable[[], AsyncIterator[Sample]]) -> Callable[[], AsyncIterator[Frame]]:
    """The same iterator, analysed."""

    async def analysed() -> AsyncIterator[Frame]:
        history = History()
        async for sample in samples():
            yield analyse(history, sample, __version__)

    return analysed


def samples_of(args: argparse.Namespace, config: Config) -> Callable[[], AsyncIterator[Sample]]:
    """Samples of this host, or of a scenario with `--demo`. Raises ConfigError for a scenario that is none."""
    if args.demo is None:
        poller = Poller(poller_options(args, config))
        return poller.samples
    from kvtop.sources.demo import SCENARIOS, play, scenario  # noqa: PLC0415  only with --demo

    try:
        chosen = scenario(args.demo) if args.demo else SCENARIOS[0]
    except KeyError as error:
        raise ConfigError(f"--demo: {error.args[0]}") from error
    return lambda: play(chosen, config.interval_seconds)


def one_frame(args: argparse.Namespace, config: Config) -> Frame:
    """One frame of this host, or second 8 of a scenario."""
    history = History()
    if args.demo is None:
        from kvtop.sources.poller import take_sample  # noqa: PLC0415

        return analyse(history, take_sample(poller_options(args, config)), __version__)
    from kvtop.sources.demo import SCENARIOS, scenario  # noqa: PLC0415  only with --demo

    try:
        chosen = scenario(args.demo) if args.demo else SCENARIOS[0]
    except KeyError as error:
        raise ConfigError(f"--demo: {error.args[0]}") from error
    analyse(history, chosen.at(WARM_UP_SECONDS - 1), __version__)
    return analyse(history, chosen.at(WARM_UP_SECONDS), __version__)


def warn(message: str) -> None:
    """One line to the person at the terminal, never to stdout."""
    print(f"kvtop: {message}", file=sys.stderr)
