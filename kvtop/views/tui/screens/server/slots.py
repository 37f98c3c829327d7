"""Who uses the KV cache now: slots of llama.cpp, pools and queues of engines that share one pool."""

from kvtop.domain.engine_report import PoolReport
from kvtop.domain.frame import ServerView
from kvtop.domain.server import Slot
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
    words = [_doing(slot) for slot in slots]
    word_width = max(len(word) for word in words)
    bar_width = max(width - 33 - word_width, 8)
    for slot, word in zip(slots, words, strict=True):
        ratio = slot.used_tokens / slot.context_tokens if slot.used_tokens is not None and slot.context_tokens else None
        role = "" if slot.is_processing else "faint"
        used = () if slot.used_tokens is None else (Part(KV_USED, slot.used_tokens),)
        rest = max((slot.context_tokens or 0) - (slot.used_tokens or 0), 0)
        drawn = bar((*used, Part(FREE, rest)), bar_width) if ratio is not None else (Piece("?" * bar_width, "faint"),)
        numbers = f" {tokens_text(slot.used_tokens):>6} / {tokens_text(slot.context_tokens):<6}{ratio_text(ratio):>5}  "
        lines.append((Piece(f"slot {slot.id:<4}"), *drawn, Piece(numbers), Piece(left(word, word_width), role)))
    return lines


def _doing(slot: Slot) -> str:
    """What a slot does: "○ idle", "● prompt 486", "● 113 of 300" generated, "● 94 so far" without a limit."""
    if not slot.is_processing:
        return "?" if slot.is_processing is None else "○ idle"
    if slot.task_id is None or slot.decoded_tokens is None:
        return "● busy"
    if not slot.decoded_tokens:
        return "● prompt" if slot.prompt_read_tokens is None else f"● prompt {tokens_text(slot.prompt_read_tokens)}"
    if slot.remaining_tokens is None:
        return f"● {slot.decoded_tokens} so far"
    return f"● {slot.decoded_tokens} of {slot.decoded_tokens + slot.remaining_tokens}"


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
