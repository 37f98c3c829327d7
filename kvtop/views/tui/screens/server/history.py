"""Server history: KV use, tokens per second and headroom over the same time."""

from kvtop.domain.frame import ServerView
from kvtop.text import bytes_text, duration_text, rate_text, ratio_text, tokens_text
from kvtop.views.tui.state.history import ServerHistory
from kvtop.views.tui.widgets.lines import Line, rule
from kvtop.views.tui.widgets.plot_lines import nice_top, plot_lines


def history_lines(view: ServerView, trail: ServerHistory, span_seconds: float, width: int, height: int) -> list[Line]:
    """Three plots of one time axis, in about `height` lines."""
    each = max((height - 1) // 3, 5)
    newest = trail.newest
    points = list(trail.since(newest - span_seconds))
    kv = [(point.at, point.kv_ratio) for point in points]
    rate = [(point.at, point.tokens_per_second) for point in points]
    room = [(point.at, point.headroom) for point in points]
    capacity = view.kv_cache.capacity_tokens
    top = float(capacity) if capacity and not trail.headroom_is_bytes else nice_top([value for _, value in room])
    number = _whole_bytes if trail.headroom_is_bytes else tokens_text
    return [
        rule(f"The last {duration_text(span_seconds)} (+ and - zoom)", width),
        *plot_lines("KV use", kv, ratio_text, 1.0, span_seconds, width, each),
        *plot_lines("tokens/s", rate, rate_text, nice_top([value for _, value in rate]), span_seconds, width, each),
        *plot_lines("headroom", room, number, top, span_seconds, width, each),
    ]


def _whole_bytes(size_bytes: float) -> str:
    return bytes_text(round(size_bytes))
