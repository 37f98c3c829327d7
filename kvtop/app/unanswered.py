"""What a single look was asked to read and did not: an endpoint that was named, the list of processes."""

import argparse
import sys
from collections.abc import Sequence

from kvtop.domain.sample import PROCESSES, Failure
from kvtop.domain.server import ServerReading, ServerState

_ANSWERED = frozenset({ServerState.READY, ServerState.LOADING, ServerState.SLEEPING, ServerState.LOCKED})


def unanswered(
    args: argparse.Namespace,
    readings: Sequence[ServerReading],
    failures: Sequence[Failure] = (),
    pending: Sequence[str] = (),
) -> tuple[str, ...]:
    """A sentence for each: --url and --prometheus as given in `args`, and processes that were not looked at in time."""
    by_url = {reading.url: reading for reading in readings}
    found = []
    for url in args.url if args.demo is None else ():
        reading = by_url.get(url)
        if reading is None or reading.state not in _ANSWERED:
            why = "no answer in time" if reading is None or not reading.hint else reading.hint
            found.append(f"{_place(url)} did not answer: {why}")
    if args.prometheus is not None:
        place = _place(args.prometheus)
        found += [f"{place} did not answer: {it.message}" for it in failures if it.source == place]
    if PROCESSES in pending:
        found.append("the processes of this machine have not been looked at yet: what runs here may be missing")
    return tuple(dict.fromkeys(found))


def warn_of(sentences: Sequence[str]) -> None:
    """Each on standard error, in one line and without secrets."""
    from kvtop.sources.redaction.redact import clean  # noqa: PLC0415  only where something is wrong

    for sentence in sentences:
        print(f"kvtop: {clean(' '.join(sentence.split()))}", file=sys.stderr)


def _place(url: str) -> str:
    """Host and port alone: a URL may hold a password."""
    from urllib.parse import urlsplit  # noqa: PLC0415  only with a URL

    return urlsplit(url).netloc.rpartition("@")[2] or url
