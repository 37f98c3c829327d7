"""From a recording to Frames: what `kvtop replay`, `kvtop report` and `kvtop diff` share."""

import re
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from datetime import datetime, timedelta

from kvtop import __version__
from kvtop.analysis.analyse import History, analyse
from kvtop.analysis.anonymize import Pseudonyms
from kvtop.analysis.lint.finding_memory import FindingMemory
from kvtop.domain.frame import Frame
from kvtop.domain.sample import Sample
from kvtop.io.fault_reports import contained
from kvtop.io.limits import limited
from kvtop.sources.recordings.framing import RecordingError
from kvtop.sources.recordings.player import Player
from kvtop.sources.recordings.reader import Recording
from kvtop.text import UnusableTextError, parse_duration

WARM_UP_TICKS = 120
"""Ticks before the one that is asked for: rates need some, and a forecast the last minutes."""

JUMP_TICKS = 1
"""The same for a person who seeks: enough for rates, and the picture is there before it can be missed."""

_BLOCK_TICKS = 120
"""Ticks searched at once on the way back: one keyframe interval."""

_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


def frame_at(
    recording: Recording,
    index: int,
    names: Pseudonyms | None = None,
    history: History | None = None,
    warm_up_ticks: int = WARM_UP_TICKS,
) -> Frame:
    """The Frame of a tick, as a dashboard would have shown it then. Raises RecordingError for a damaged tick.

    `history`, fresh, is brought to that tick, for the ones after it.
    """
    history, frame = History(report=contained, limited=limited) if history is None else history, None
    for number in range(max(index - warm_up_ticks, 0), index + 1):
        try:
            sample = recording.sample(number)
            frame = analyse(history, _named(sample, names), __version__)
        except RecordingError:
            if number == index:
                raise
    assert frame is not None, "the last tick was read, or its error has left"
    return frame


def replayed(
    player: Player, names: Pseudonyms | None = None, note: Callable[[Sample, Frame], None] | None = None
) -> Callable[[], AsyncIterator[Frame]]:
    """The player's Samples, analysed; a jump begins with the ticks before it, so that its rates are right.

    `note` is told of every Sample and its Frame before the Frame goes on.
    """

    async def frames() -> AsyncIterator[Frame]:
        history, before = History(report=contained, limited=limited), -2
        async for sample in player.samples():
            index, is_next = player.index, player.index == before + 1 or bool(player.problem)
            before = index
            try:
                if is_next:
                    frame = analyse(history, _named(sample, names), __version__)
                else:
                    # Plans, and what unchanging rules say, are the same whenever they are asked.
                    findings = FindingMemory(history.findings.suppressions, history.findings.settled)
                    history = History(plans=history.plans, findings=findings, report=contained, limited=limited)
                    frame = frame_at(player.recording, index, names, history, JUMP_TICKS)
            except RecordingError as error:
                player.problem = str(error)
                continue
            if note is not None:
                note(_named(sample, names), frame)
            yield frame

    return frames


def _named(sample: Sample, names: Pseudonyms | None) -> Sample:
    return sample if names is None else names.anonymised(sample)


def finding_tick(recording: Recording, index: int, direction: int) -> int | None:
    """The next tick after `index` (with -1 the last one before it) that has a finding its predecessor lacks."""
    search = finding_search(recording, index, direction)
    while True:
        try:
            next(search)
        except StopIteration as end:
            found: int | None = end.value
            return found


def finding_search(recording: Recording, index: int, direction: int) -> Generator[int, None, int | None]:
    """The same in steps: yields every tick that it has looked at, since a long recording takes minutes, and returns."""
    if direction > 0:
        known: frozenset[str] = frozenset()
        for number, now in _findings(recording, index, len(recording)):
            yield number
            if number > index and now - known:
                return number
            known = now
        return None
    for start in range(max(index - _BLOCK_TICKS, 0), -_BLOCK_TICKS, -_BLOCK_TICKS):
        first = max(start, 0)
        latest, known = None, frozenset()
        for number, now in _findings(recording, max(first - 1, 0), min(start + _BLOCK_TICKS, index)):
            yield number
            if number >= first and now - known:
                latest = number
            known = now
        if latest is not None:
            return latest
    return None


def _findings(recording: Recording, start: int, stop: int) -> Iterator[tuple[int, frozenset[str]]]:
    """Each tick's findings by server and rule, from `start` on: many rules need the ticks before, as in a dashboard."""
    history = History(report=contained, limited=limited)
    for number in range(max(start - WARM_UP_TICKS, 0), stop):
        try:
            sample = recording.sample(number)
            frame = analyse(history, sample, __version__)
        except RecordingError:
            continue  # the screen says so when it is shown
        if number >= start:
            yield number, frozenset(f"{it.reading.id} {found.code}" for it in frame.servers for found in it.findings)


def moment(recording: Recording, text: str) -> int:
    """The tick that a time names: "90", "+1m30s" from the start, "-30s" from the end, "14:05", or an ISO time.

    Times without a zone are this machine's. Raises ValueError with what is accepted, or when it lies outside.
    """
    first, last = recording.times[0], recording.times[-1]
    wanted = _unix_time(text.strip(), first, last)
    if not first - 0.5 <= wanted <= last + 0.5:
        span = " to ".join(
            datetime.fromtimestamp(it).astimezone().isoformat(timespec="seconds") for it in (first, last)
        )
        raise UnusableTextError(f"{text} lies outside the recording ({span}, {last - first:.0f} s)")
    return recording.index_at(wanted)


def _unix_time(text: str, first: float, last: float) -> float:
    try:
        if text.startswith("-"):
            return last - parse_duration(text[1:])
        return first + parse_duration(text.removeprefix("+"))
    except ValueError:
        pass
    clock = _CLOCK.fullmatch(text)
    try:
        if clock is not None:
            start = datetime.fromtimestamp(first).astimezone()
            hour, minute, second = (int(part or 0) for part in clock.groups())
            at = start.replace(hour=hour, minute=minute, second=second, microsecond=0)
            # The first such moment that is not before the recording; its very second counts.
            return (at if at.timestamp() > first - 1 else at + timedelta(days=1)).timestamp()
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError as error:
        accepted = "90, +1m30s, -30s, 14:05:30 or 2026-11-24T14:05:30+01:00"
        raise UnusableTextError(f"not a time: {text!r} (accepted: {accepted})") from error
