"""Servers as a table: one line each, aligned, its columns chosen by the width there is."""

from collections.abc import Callable
from dataclasses import dataclass

from rich.cells import cell_len

from kvtop.domain.frame import ServerView
from kvtop.domain.headroom import NO_VERDICT, Concern
from kvtop.domain.server import ServerState
from kvtop.text import bytes_text, rate_text, ratio_text, tokens_text
from kvtop.views.bar_parts import Part, split_parts
from kvtop.views.tui.state.history import Trails
from kvtop.views.tui.widgets.lines import Line, Piece, left, right
from kvtop.views.tui.widgets.model_names import model_text
from kvtop.views.tui.widgets.stacked_bar import bar

STATE_LOOK = {
    ServerState.READY: ("●", ""),
    ServerState.LOADING: ("○", "warning"),
    ServerState.SLEEPING: ("○", "faint"),
    ServerState.LOCKED: ("▲", "warning"),
    ServerState.UNREACHABLE: ("■", "error"),
    ServerState.ERROR: ("■", "error"),
    ServerState.UNKNOWN: ("?", "faint"),
}
_CONCERN_LOOK = {Concern.BAD: ("■", "error"), Concern.WATCH: ("▲", "warning")}
_TREND = 10
"""Columns of a trend: five minutes."""
_SHORT_STATES = {ServerState.SLEEPING: "asleep", ServerState.UNREACHABLE: "gone", ServerState.UNKNOWN: "unknown"}
_SHORT_VERDICTS = {"requests wait": "queueing", "its card is lost": "card lost", "not asked yet": "not asked"}
_SEVERITY = {"error": ("■", "error"), "warning": ("▲", "warning"), "info": ("•", "faint")}


@dataclass(frozen=True, slots=True)
class ServerRow:
    """What a row of the table depends on, as it is printed, so that a change nobody would see repaints nothing."""

    id: str
    where: str
    """The id without what every server of this machine has in common."""
    engine: str
    model: str | None
    verdict: tuple[str, str]
    """(mark and words, role)"""
    context: str
    cache_types: str
    parts: tuple[Part, ...]
    memory: str
    kv_use: str
    trend: str
    headroom: str
    rate: str
    findings: tuple[str, str]
    """(text, role)"""


def cache_types_text(type_k: str | None, type_v: str | None) -> str:
    """ "q8_0", or "q8_0/f16" where K and V differ."""
    return type_k or "?" if type_k == type_v else f"{type_k or '?'}/{type_v or '?'}"


def server_rows(servers: tuple[ServerView, ...], trails: Trails) -> tuple[ServerRow, ...]:
    """The small value that the table is drawn from."""
    return tuple(_row(view, trails.of(view.reading.id).trend(_TREND)) for view in servers)


def verdict_text(view: ServerView) -> tuple[str, str]:
    """(mark and words, role); the state where no verdict was made."""
    mark, role = STATE_LOOK[view.reading.state]
    if view.verdict == NO_VERDICT:
        return f"{mark} {_SHORT_STATES.get(view.reading.state, view.reading.state.value)}", role
    mark, role = _CONCERN_LOOK.get(view.verdict.concern, (mark, role))
    return f"{mark} {view.verdict.words}", role


def _short(verdict: tuple[str, str]) -> tuple[str, str]:
    """For a column: "slot 2 is full" and "the pool of all slots is full" are "slot 2 full" and "full"."""
    words, role = verdict
    mark, _, rest = words.partition(" ")
    rest = _SHORT_VERDICTS.get(rest, rest)
    if rest.endswith(" is full"):
        cause = rest.removesuffix(" is full")
        rest = f"{cause} full" if len(cause) <= 8 else "full"
    return f"{mark} {rest}", role


def headroom_text(view: ServerView) -> str:
    """What is left for growth: tokens under the server's own limits, else bytes free on its fullest device."""
    if view.headroom.cache_tokens_left is not None:
        return f"{tokens_text(view.headroom.cache_tokens_left)} tok"
    free = [size for _, size in view.headroom.device_free_bytes if size is not None]
    return bytes_text(min(free)) if free else "?"


def _row(view: ServerView, trend: str) -> ServerRow:
    reading, cache = view.reading, view.kv_cache
    measured = [split.driver.value_bytes for split in view.splits]
    known = [size for size in measured if size is not None]
    memory = bytes_text(sum(known) if known else None) + ("+?" if known and len(known) < len(measured) else "")
    bound = "≤" if cache.used_is_upper_bound and cache.used_ratio is not None else ""
    return ServerRow(
        reading.id,
        reading.id.removeprefix("127.0.0.1"),
        view.engine_text,
        reading.model.name or reading.model.path,
        _short(verdict_text(view)),
        tokens_text(cache.capacity_tokens),
        cache_types_text(cache.type_k, cache.type_v),
        split_parts(view.splits),
        memory,
        bound + ratio_text(cache.used_ratio),
        trend,
        headroom_text(view),
        rate_text(view.generated_tokens_per_second),
        _findings(view),
    )


def _findings(view: ServerView) -> tuple[str, str]:
    for severity, (mark, role) in _SEVERITY.items():
        if any(finding.severity == severity for finding in view.findings):
            return f"{mark}{len(view.findings)}", role
    return "", ""


Draw = Callable[[ServerRow, int], tuple[Piece, ...]]


@dataclass(frozen=True, slots=True)
class _Column:
    """`rank`: the higher, the sooner it goes when room is short. `grow` shares what is left over."""

    title: str
    width: int
    draw: Draw
    rank: float
    is_number: bool = False
    grow: int = 0
    widest: int = 0
    short: str = ""
    """The title where the column is narrower than it."""
    text: Callable[[ServerRow], str] | None = None
    """What must not be cut off: the column is as wide as the longest of them."""

    def head(self, width: int) -> str:
        """The title in exactly that width."""
        title = self.title if len(self.title) <= width else self.short
        return right(title, width) if self.is_number else left(title, width)


def _text(get: Callable[[ServerRow], str], role: str = "") -> Draw:
    return lambda row, width: (Piece(left(get(row), width), role),)


def _number(get: Callable[[ServerRow], str]) -> Draw:
    return lambda row, width: (Piece(right(get(row), width)),)


def _verdict(row: ServerRow, width: int) -> tuple[Piece, ...]:
    words, role = row.verdict
    return (Piece(left(words, width), role),)


def _findings_piece(row: ServerRow, width: int) -> tuple[Piece, ...]:
    text, role = row.findings
    return (Piece(left(text, width), role),)


def _trend(row: ServerRow, width: int) -> tuple[Piece, ...]:
    return (Piece(left(row.trend, width), "kv-used"),)


_SERVER = _Column("server", 6, _text(lambda row: row.where, "faint"), 11, text=lambda row: row.where)
_MODEL = _Column("model", 14, lambda row, w: (Piece(left(model_text(row.model, w), w), "strong"),), 0, widest=44)
_SPLIT = _Column("split", 8, lambda row, width: bar(row.parts, width), 4, grow=4, widest=60)
_COLUMNS = (
    _Column("engine", 9, _text(lambda row: row.engine, "faint"), 3),
    _SERVER,
    _MODEL,
    _Column("verdict", 14, _verdict, 2),
    _Column("ctx", 5, _number(lambda row: row.context), 7, is_number=True),
    _Column("K/V cache", 9, _text(lambda row: row.cache_types), 10, text=lambda row: row.cache_types),
    _SPLIT,
    _Column("memory", 8, _number(lambda row: row.memory), 1, is_number=True, text=lambda row: row.memory),
    _Column("KV", 5, _number(lambda row: row.kv_use), 1, is_number=True),
    _Column("5 min", _TREND, _trend, 9, is_number=True),
    _Column("headroom", 9, _number(lambda row: row.headroom), 5, is_number=True),
    _Column("tok/s", 5, _number(lambda row: row.rate), 6, is_number=True),
    _Column("findings", 3, _findings_piece, 5.5, grow=1, widest=8, short="!"),
)
_CURSOR_WIDTH = 2
_UNCUT = 21
"""Columns of the longest text that is never cut: an address, 198.51.100.200:65535."""


def _fit(rows: tuple[ServerRow, ...], width: int) -> list[tuple[_Column, int]]:
    """The columns that there is room for, each with its width.

    The server's address is the first to go, but not where two rows would read the same without it.
    """
    names = [(row.engine, model_text(row.model, _MODEL.width)) for row in rows]
    sizes = {column: _least(column, rows) for column in _COLUMNS}
    ranks = {column: column.rank for column in _COLUMNS} | ({} if len(set(names)) == len(names) else {_SERVER: 2.5})
    room = width - _CURSOR_WIDTH
    while sum(sizes.values()) + len(sizes) - 1 > room and len(sizes) > 1:
        del sizes[max(sizes, key=lambda column: ranks[column])]
    spare = max(room - sum(sizes.values()) - len(sizes) + 1, 0)
    # A whole name is worth more than a longer bar.
    longest = max((cell_len(model_text(row.model, _MODEL.widest)) for row in rows), default=0)
    more = min(max(longest - sizes[_MODEL], 0), spare)
    sizes[_MODEL] += more
    spare -= more
    shares = sum(column.grow for column in sizes)
    for column, size in list(sizes.items()):
        extra = spare * column.grow // shares if shares else 0
        sizes[column] = max(min(size + extra, column.widest), size)
    left_over = room - sum(sizes.values()) - len(sizes) + 1
    if _SPLIT in sizes and left_over > 0:
        sizes[_SPLIT] += left_over
    return list(sizes.items())


def _least(column: _Column, rows: tuple[ServerRow, ...]) -> int:
    """The width that it must have: what must not be cut off is as wide as the longest."""
    texts = [cell_len(column.text(row)) for row in rows] if column.text is not None else []
    return max(column.width, min(max(texts, default=0), _UNCUT))


def table_head(rows: tuple[ServerRow, ...], width: int, order: str) -> Line:
    """The titles, over the columns that fit; `order` is the one that the table goes by. A click orders by it."""
    pieces = [Piece(" " * _CURSOR_WIDTH)]
    for column, size in _fit(rows, width):
        role = "key" if column.title == order else "faint"
        pieces.append(Piece(column.head(size) + " ", role, f"screen.sort('{column.title}')"))
    return tuple(pieces)


def table_lines(rows: tuple[ServerRow, ...], width: int, cursor: int | None) -> list[Line]:
    """A line a server. The cursor is a glyph besides its colour."""
    fitted = _fit(rows, width)
    lines: list[Line] = []
    for index, row in enumerate(rows):
        pieces = [Piece("▸ " if index == cursor else "  ", "key")]
        for column, size in fitted:
            pieces += [*column.draw(row, size), Piece(" ")]
        lines.append(tuple(pieces))
    return lines
