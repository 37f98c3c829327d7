"""Servers as a table: one line each, aligned, its columns chosen by the width there is."""

from collections.abc import Callable
from dataclasses import dataclass

from rich.cells import cell_len

from kvtop.domain.frame import ServerView
from kvtop.domain.headroom import NO_VERDICT, Concern
from kvtop.domain.server import ServerState
from kvtop.text import bytes_text, latency_text, rate_text, ratio_text, tokens_text
from kvtop.views.bar_parts import Part, split_parts
from kvtop.views.segment_table import FREE, KV_USED
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
    kv_share: int | None
    """Of 1000; None is unknown."""
    trend: str
    room: str
    queue: str
    rate: str
    first_token: str
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
    if rest.endswith(" ago") and " filled " in rest:
        rest = rest[rest.index(" filled ") + 1 :]
    if rest.endswith(" is full"):
        cause = rest.removesuffix(" is full")
        rest = f"{cause} full" if len(cause) <= 8 else "full"
    return f"{mark} {rest}", role


def room_text(view: ServerView) -> str:
    """ "2x 8k": two more requests of 8k tokens have their room now; "?" for unknown."""
    room = view.headroom
    if room.more_requests is None or room.request_tokens is None:
        return "?"
    return f"{room.more_requests}x {tokens_text(room.request_tokens)}"


def queue_text(view: ServerView) -> str:
    """How many requests wait; "?" for unknown."""
    waiting = view.reading.counters.requests_waiting
    if waiting is None:
        by_pool = [pool.requests_waiting for pool in view.reading.pools]
        known = [requests for requests in by_pool if requests is not None]
        waiting = sum(known) if known and len(known) == len(by_pool) else None
    return "?" if waiting is None else f"{waiting:.0f}"


def headroom_text(view: ServerView) -> str:
    """What is left for growth: tokens under the server's own limits, else bytes free on its fullest device."""
    if view.headroom.cache_tokens_left is not None:
        return f"{tokens_text(view.headroom.cache_tokens_left)} tok"
    free = [size for _, size in view.headroom.device_free_bytes if size is not None]
    return bytes_text(min(free)) if free else "?"


def _row(view: ServerView, trend: str) -> ServerRow:
    reading, cache = view.reading, view.kv_cache
    on_cards, held = view.where_it_lies, view.held
    is_partial = held.value_bytes is None and held.least_bytes > 0
    memory = bytes_text(held.least_bytes if is_partial else held.value_bytes) + ("+?" if is_partial else "")
    bound = "≤" if cache.used_is_upper_bound and cache.used_ratio is not None else ""
    return ServerRow(
        reading.id,
        reading.id.removeprefix("127.0.0.1"),
        view.engine_text,
        reading.model.name or reading.model.path,
        _short(verdict_text(view)),
        tokens_text(cache.capacity_tokens),
        cache_types_text(cache.type_k, cache.type_v),
        split_parts(on_cards),
        memory,
        bound + ratio_text(cache.used_ratio),
        None if cache.used_ratio is None else round(cache.used_ratio * 1000),
        trend,
        room_text(view),
        queue_text(view),
        rate_text(view.generated_tokens_per_second),
        latency_text(view.first_token_seconds),
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
    known: Callable[[ServerRow], bool] | None = None
    """Whether a row says it; a column that none does is not there."""

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


def _gauge(row: ServerRow, width: int) -> tuple[Piece, ...]:
    """How full the KV cache is, as a bar and a number; a number alone where there is no room for a bar."""
    number = right(row.kv_use, _PERCENT)
    cells = width - _PERCENT
    if cells < 4:
        return (Piece(right(row.kv_use, width)),)
    if row.kv_share is None:
        return (Piece("?" * cells, "faint"), Piece(number))
    used = Part(KV_USED, row.kv_share), Part(FREE, 1000 - row.kv_share)
    return (*bar(used, cells), Piece(number, "strong"))


def _trend(row: ServerRow, width: int) -> tuple[Piece, ...]:
    return (Piece(left(row.trend, width), "kv-used"),)


_SERVER = _Column("server", 6, _text(lambda row: row.where, "faint"), 8.5, text=lambda row: row.where)
_MODEL = _Column("model", 14, lambda row, w: (Piece(left(model_text(row.model, w), w), "strong"),), 0, widest=44)
_PERCENT = 5
_WITH_NAMES, _SHORT_NAME = 90, 10
"""Below that width names of models get so many columns at least."""
_SHORT_BARS, _NARROW = 60, 50
"""Below this width the KV column is a number."""
_KV = _Column("KV", 12, _gauge, 0.5, grow=3, widest=30)
_SPLIT = _Column("split", 8, lambda row, width: bar(row.parts, width), 6, grow=4, widest=60)
_MEMORY = _Column("memory", 8, _number(lambda row: row.memory), 1, is_number=True, text=lambda row: row.memory)
_COLUMNS = (
    _Column("engine", 9, _text(lambda row: row.engine, "faint"), 3.5),
    _SERVER,
    _MODEL,
    _Column("verdict", 16, _verdict, 2),
    _KV,
    _Column("room", 6, _number(lambda row: row.room), 2.2, is_number=True, text=lambda row: row.room),
    _Column("queue", 5, _number(lambda row: row.queue), 4.5, is_number=True, known=lambda row: row.queue != "?"),
    _Column("tok/s", 5, _number(lambda row: row.rate), 4, is_number=True),
    _Column("TTFT", 5, _number(lambda row: row.first_token), 5, is_number=True, known=lambda it: it.first_token != "?"),
    _Column("5 min", _TREND, _trend, 9, is_number=True),
    _MEMORY,
    _SPLIT,
    _Column("ctx", 5, _number(lambda row: row.context), 7, is_number=True),
    _Column("K/V cache", 9, _text(lambda row: row.cache_types), 10, text=lambda row: row.cache_types),
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
    told = [it for it in _COLUMNS if it.known is None or any(map(it.known, rows))]
    sizes = {column: _least(column, rows) for column in told}
    if width < _WITH_NAMES:
        sizes[_MODEL] = _SHORT_NAME
    if width < _SHORT_BARS:
        sizes[_KV] = _PERCENT + 4
    if width < _NARROW:  # how full it is and what comes of it; its bytes stand above
        sizes[_KV] = _PERCENT
        del sizes[_MEMORY]
    ranks = {column: column.rank for column in _COLUMNS} | ({} if len(set(names)) == len(names) else {_SERVER: 2.1})
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
