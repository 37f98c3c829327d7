"""The smaller pages as lines: the header, the footer, the sources and the help."""

from collections.abc import Iterable, Mapping

from kvtop.domain.frame import Frame
from kvtop.text import duration_text
from kvtop.views.tui.keys import HELP, KEYS, SCREEN_NAMES, Key
from kvtop.views.tui.lines import Line, Piece, fold, left, rule, width_of, wrap
from kvtop.views.tui.segments import LOOKS
from kvtop.views.tui.server_lines import STATE_LOOK


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def header_line(frame: Frame | None, silent_seconds: float, interval_seconds: float, width: int) -> Line:
    """Who and how many; at the right what needs attention. What does not fit goes, least important first."""
    if frame is None:
        return (Piece(" kvtop ", "title"), Piece(" starting …", "faint"))
    severities = [finding.severity for server in frame.servers for finding in server.findings]
    alarms: list[Line] = []
    if silent_seconds > 2 * interval_seconds:
        alarms.append((Piece(f"▲ {duration_text(silent_seconds)} old", "warning"),))
    if severities:
        mark, role = ("•", "faint") if set(severities) == {"info"} else ("▲", "warning")
        alarms.append((Piece(f"{mark} {_count(len(severities), 'finding')}", role),))
    if frame.failures:
        alarms.append((Piece(f"■ {len(frame.failures)} unread", "error"),))
    facts: list[Line] = [
        (Piece(frame.host, "strong"),),
        (Piece(_count(len(frame.devices), "device")),),
        (Piece(_count(len(frame.servers), "server")),),
    ]
    if frame.pending:
        facts.append((Piece(f"{len(frame.pending)} pending", "faint"),))
    room = width - 9
    tail = _joined(alarms)
    while facts and width_of(_joined(facts)) + width_of(tail) + 2 > room:
        facts.pop()
    head = (Piece(" kvtop ", "title"), Piece(" "), *_joined(facts))
    return (*head, Piece(" " * max(width - width_of(head) - width_of(tail) - 1, 0)), *tail, Piece(" "))


def _joined(words: list[Line]) -> Line:
    pieces: list[Piece] = []
    for word in words:
        pieces += [Piece(" · ", "faint"), *word] if pieces else word
    return tuple(pieces)


def footer_line(useful: Iterable[Key], shown: Mapping[str, str], width: int) -> Line:
    """The keys that do something here and now, as many as fit, quit and help always first."""
    words = [(Piece(shown[key.id], "key"), Piece(f" {key.footer}", "faint")) for key in useful]
    return (Piece(" "), *fold(words, width - 2)[0])


def sources_lines(frame: Frame | None, width: int) -> list[Line]:
    """What could not be read, why and what to do; then what has not answered yet."""
    if frame is None:
        return [(Piece("Nothing has been read yet.", "strong"),)]
    lines = [rule(f"Could not be read ({len(frame.failures)})", width)]
    for failure in frame.failures:
        lines += [(Piece("■ ", "error"), Piece(left(failure.source, width - 2).rstrip(), "strong"))]
        lines += [(Piece(f"  {text}"),) for text in wrap(failure.message, width - 2)]
        lines += [
            (Piece(f"  {text}", "key"),) for text in (wrap(f"→ {failure.remedy}", width - 2) if failure.remedy else ())
        ]
        lines.append(())
    if not frame.failures:
        lines += [(Piece("Everything that was asked has answered.", "faint"),), ()]
    lines.append(rule(f"Has not answered yet ({len(frame.pending)})", width))
    lines += [(Piece(left(f"○ {name}", width).rstrip()),) for name in frame.pending]
    return lines if frame.pending else [*lines, (Piece("Nothing.", "faint"),)]


def help_lines(screen: str, shown: Mapping[str, str], version: str, width: int) -> list[Line]:
    """Keys of the screen that the person came from, then every glyph."""
    lines = [rule(f"Keys on this screen: {SCREEN_NAMES[screen]}", width)]
    for key in KEYS:
        if key.on(screen) or key.on(HELP):
            lines.append((Piece(f"  {shown[key.id]:<9}", "key"), Piece(left(key.meaning, width - 11).rstrip())))
    lines += [(), rule("Glyphs in the bars", width)]
    for look in LOOKS:
        text = left(f"{look.word:<14}{look.meaning}", width - 7).rstrip()
        lines.append((Piece(f"  {look.glyph * 3}  ", look.role), Piece(text)))
    lines += [(), rule("States", width)]
    lines += fold([(Piece(mark, role), Piece(f" {state.value}")) for state, (mark, role) in STATE_LOOK.items()], width)
    lines += [(), rule("Numbers", width)]
    for word, meaning in (
        ("measured", "the driver or the kernel counted it"),
        ("reported", "the engine said so"),
        ("computed", "exact, from the model file, the launch options and the engine's rule"),
        ("estimated", "a model, with its range"),
        ("residual", "what is left of a measured total"),
        ("?", "unknown; never shown as 0"),
    ):
        lines.append((Piece(f"  {word:<11}", "key"), Piece(left(meaning, width - 13).rstrip())))
    return [*lines, (), (Piece(f"kvtop {version}".strip(), "faint"),)]
