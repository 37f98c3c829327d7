"""Who uses the KV cache now: slots of llama.cpp, pools and queues of engines that share one pool."""

from kvtop.domain.engine_report import PoolReport
from kvtop.domain.frame import ServerView
from kvtop.text import ratio_text, tokens_text
from kvtop.views.bar_parts import Part
from kvtop.views.segment_table import FREE, KV_USED
from kvtop.views.tui.widgets.lines import Line, Piece, left, rule
from kvtop.views.tui.widgets.stacked_bar import bar


def slot_lines(view: ServerView, width: int) -> list[Line]:
    """A bar a slot, or a bar a pool with its queue; empty where the server tells of neither."""
    return _slots(view, width) if view.reading.slots else _pools(view, width)


def _slots(view: ServerView, width: int) -> list[Line]:
    slots = view.reading.slots
    if not slots:
        return []
    lines = [rule(f"Slots ({len(slots)})", width)]
    bar_width = max(width - 40, 8)
    for slot in slots:
        ratio = slot.used_tokens / slot.context_tokens if slot.used_tokens is not None and slot.context_tokens else None
        word = "?" if slot.is_processing is None else "● busy" if slot.is_processing else "○ idle"
        role = "" if slot.is_processing else "faint"
        used = () if slot.used_tokens is None else (Part(KV_USED, slot.used_tokens),)
        rest = max((slot.context_tokens or 0) - (slot.used_tokens or 0), 0)
        drawn = bar((*used, Part(FREE, rest)), bar_width) if ratio is not None else (Piece("?" * bar_width, "faint"),)
        numbers = f" {tokens_text(slot.used_tokens):>6} / {tokens_text(slot.context_tokens):<6}{ratio_text(ratio):>5}  "
        lines.append((Piece(f"slot {slot.id:<4}"), *drawn, Piece(numbers), Piece(left(word, 7), role)))
    return lines


def _pools(view: ServerView, width: int) -> list[Line]:
    pools, counters = view.reading.pools, view.reading.counters
    if not pools:
        return []
    lines = [rule("KV pool" if len(pools) == 1 else f"KV pools ({len(pools)} engines)", width)]
    for pool in pools:
        lines += _pool(pool, width)
    told = [
        ("running", counters.requests_processing),
        ("waiting", counters.requests_waiting),
        ("waiting for memory", counters.requests_waiting_for_memory),
        ("preemptions", counters.preemptions_total),
    ]
    words = [f"{name} {amount:.0f}" for name, amount in told if amount is not None]
    asked, hit = counters.prefix_query_tokens_total, counters.prefix_hit_tokens_total
    if asked and hit is not None:
        words.append(f"prefix cache hits {ratio_text(hit / asked)}")
    if words:
        lines.append((Piece(left("requests: " + " · ".join(words), width).rstrip()),))
    return lines


def _pool(pool: PoolReport, width: int) -> list[Line]:
    bar_width = max(width - 34, 8)
    ratio, whole = pool.used_ratio, 10**6
    parts = () if ratio is None else (Part(KV_USED, round(ratio * whole)), Part(FREE, round((1 - ratio) * whole)))
    name = f"engine {pool.engine_index}"
    numbers = f" {ratio_text(ratio):>4} of {tokens_text(pool.capacity_tokens)} tokens"
    concurrency = "?" if pool.max_concurrency is None else f"{pool.max_concurrency:.2f}"
    return [
        (Piece(f"{name:<11}"), *bar(parts, bar_width), Piece(left(numbers, 23))),
        (Piece(left(f"{'':<11}{concurrency} requests of full length at once", width).rstrip(), "faint"),),
    ]
