"""The first line and the last of every screen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kvtop.domain.frame import Frame
from kvtop.text import duration_text
from kvtop.views.demo_mark import DEMO_MARK
from kvtop.views.tui.keys import Key
from kvtop.views.tui.state.player import SupportsReplay
from kvtop.views.tui.state.unread import unread_of
from kvtop.views.tui.widgets.lines import Line, Piece, fold, width_of


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


@dataclass(frozen=True, slots=True)
class ReplayPlace:
    """Where a recording that is played stands."""

    position_seconds: float
    duration_seconds: float
    is_playing: bool


def place_of(player: SupportsReplay | None) -> ReplayPlace | None:
    """The place of a player; None where no recording is played."""
    if player is None:
        return None
    return ReplayPlace(player.position_seconds, player.duration_seconds, player.is_playing)


@dataclass(frozen=True, slots=True)
class Pace:
    """How frames come. `silent_seconds` is the time since the last one; `slowed_seconds` how often it is drawn now
    because the terminal does not keep up, 0 while it does."""

    interval_seconds: float
    silent_seconds: float = 0.0
    is_paused: bool = False
    slowed_seconds: float = 0.0
    recording_seconds: float | None = None
    """For how long a recording is being written; None: none is."""
    replay: ReplayPlace | None = None

    @property
    def is_stale(self) -> bool:
        """Two frames have not come."""
        return self.silent_seconds > 2 * self.interval_seconds


def header_line(frame: Frame | None, pace: Pace, width: int) -> Line:
    """Who and how many; at the right what needs attention. What does not fit goes, least important first.

    A click on a count goes to the screen that tells more of it.
    """
    if frame is None:
        return (Piece(" kvtop ", "title"), Piece(" starting …", "faint"))
    severities = [finding.severity for server in frame.servers for finding in server.findings]
    alarms: list[Line] = []
    if pace.is_paused:
        alarms.append((Piece("│ paused", "warning", "app.pause"),))
    if pace.slowed_seconds:
        alarms.append((Piece(f"slow terminal: every {duration_text(pace.slowed_seconds)}", "faint"),))
    if pace.is_stale:
        alarms.append((Piece(f"▲ {duration_text(pace.silent_seconds)} old", "warning"),))
    if severities:
        mark, role = ("•", "faint") if set(severities) == {"info"} else ("▲", "warning")
        alarms.append((Piece(f"{mark} {_count(len(severities), 'finding')}", role, "app.show('findings')"),))
    if unread := unread_of(frame):
        alarms.append((Piece(f"■ {len(unread)} unread", "error", "app.show('sources')"),))
    facts: list[Line] = [
        (Piece(frame.host, "strong", "app.show('overview')"),),
        (Piece(_count(len(frame.devices), "device"), "", "app.show('devices')"),),
        (Piece(_count(len(frame.servers), "server"), "", "app.show('overview')"),),
    ]
    if frame.pending:
        facts.append((Piece(f"{len(frame.pending)} pending", "faint", "app.show('sources')"),))
    demo: Line = (Piece(f" {DEMO_MARK} ", "warning"),) if frame.is_demo else ()
    demo += _tags(pace)
    room = width - 9 - width_of(demo)
    tail = _joined(alarms)
    while facts and width_of(_joined(facts)) + width_of(tail) + 2 > room:
        facts.pop()
    head = (Piece(" kvtop ", "title"), *demo, Piece(" "), *_joined(facts))
    return (*head, Piece(" " * max(width - width_of(head) - width_of(tail) - 1, 0)), *tail, Piece(" "))


def _tags(pace: Pace) -> Line:
    """What is not the machine as it is now, or is being written down."""
    tags: list[Piece] = []
    if pace.recording_seconds is not None:
        tags.append(Piece(f" ● REC {_clock(pace.recording_seconds)} ", "error", "app.record"))
    if pace.replay is not None:
        mark = "▸" if pace.replay.is_playing else "│"
        place = f"{_clock(pace.replay.position_seconds)}/{_clock(pace.replay.duration_seconds)}"
        tags.append(Piece(f" {mark} REPLAY {place} ", "key", "app.show('recording')"))
    return tuple(tags)


def _clock(seconds: float) -> str:
    """0:43, 12:05, 1:02:09."""
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _joined(words: list[Line]) -> Line:
    pieces: list[Piece] = []
    for word in words:
        pieces += [Piece(" · ", "faint"), *word] if pieces else word
    return tuple(pieces)


def footer_line(useful: Iterable[Key], shown: Mapping[str, str], width: int) -> Line:
    """The keys that do something here and now, as many as fit, quit and help always first."""
    words = [
        (Piece(f"{shown[key.id].split()[0]} ", "key", key.target), Piece(key.footer, "faint", key.target))
        for key in useful
    ]
    return (Piece(" "), *fold(words, width - 2)[0])
