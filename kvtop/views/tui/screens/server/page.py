"""One server as a page: its state, its ledger, who uses it, how it went, how it was started, and who says so."""

from dataclasses import dataclass
from enum import StrEnum

from rich.cells import cell_len

from kvtop.domain.frame import Frame, ServerView
from kvtop.domain.headroom import Filling
from kvtop.text import bytes_text, rate_text, ratio_text, tokens_text
from kvtop.views.bar_parts import Part
from kvtop.views.segment_table import FREE, KV_USED
from kvtop.views.text.forecast_text import forecast_text
from kvtop.views.tui.screens.findings.page import finding_lines
from kvtop.views.tui.screens.server.history import history_lines
from kvtop.views.tui.screens.server.hosted import hosted_lines
from kvtop.views.tui.screens.server.ledger import device_ledgers, ledgers
from kvtop.views.tui.screens.server.slots import slot_lines
from kvtop.views.tui.state.history import ServerHistory
from kvtop.views.tui.widgets.empty_lines import unasked_lines
from kvtop.views.tui.widgets.lines import Line, Piece, beside, left, rule, wrap
from kvtop.views.tui.widgets.server_table import cache_types_text, verdict_text
from kvtop.views.tui.widgets.stacked_bar import bar

_PREVIEW_SECONDS = 300.0
_LEAST_PLOTS = 10
"""Lines of the plots in it, at least."""
_MOST_TOLD, _TALL = 2, 8
"""Lines of how full it is and what is forecast, in a pane of so many lines or more; else one."""
_LEAST_CUT = 3
"""Lines of a section that is cut: its title, one of its lines, and that there are more."""
_TWO_COLUMNS = 150
"""From this width on the page stands in two columns."""


class Panel(StrEnum):
    """What `e` goes around on the Server screen."""

    ALL = "all"
    LEDGER = "ledger"
    USE = "slots"
    HISTORY = "history"
    LAUNCH = "launch options"
    DERIVATION = "derivation"


EXPANDABLE = (Panel.ALL, Panel.LEDGER, Panel.USE, Panel.HISTORY, Panel.LAUNCH)


@dataclass(frozen=True, slots=True)
class PageView:
    """How the page is looked at: which panel, the time of the plots, and the room there is."""

    panel: Panel
    span_seconds: float
    width: int
    height: int


def detail_lines(view: ServerView | None, frame: Frame, trail: ServerHistory, look: PageView) -> list[Line]:
    """The whole page, or one panel of it, to be scrolled."""
    width = look.width
    if view is None:
        return unasked_lines("No server is selected: the filter hides them all.", frame, width)
    if look.panel is Panel.DERIVATION:
        return derivation_lines(view, width)
    if look.panel is Panel.LEDGER:
        return ledgers(view, frame, width)
    if look.panel is Panel.USE:
        hosted = hosted_lines(view, frame.taken_at, width)
        return slot_lines(view, width) + hosted or [(Piece("This server reports neither slots nor a pool.", "faint"),)]
    if look.panel is Panel.HISTORY:
        return history_lines(view, trail, look.span_seconds, width, look.height)
    if look.panel is Panel.LAUNCH:
        return _launch(view, width)
    is_wide = width >= _TWO_COLUMNS
    half = (width - 3) // 2 if is_wide else width
    found = _findings(view, half)
    numbers = [ledgers(view, frame, half), _cache(view, half), _model(view, half)]
    plots = history_lines(view, trail, look.span_seconds, half, 21)
    use = _stacked([slot_lines(view, half), hosted_lines(view, frame.taken_at, half)])
    doings = [use, plots, _launch(view, half), _known(view, half)]
    if is_wide:
        return [*_state(view, width), (), *beside(_stacked([found, *numbers]), _stacked(doings), half)]
    return _stacked([_state(view, width), *doings[:2], found, *numbers, *doings[2:]])


def preview_lines(view: ServerView, frame: Frame, trail: ServerHistory, width: int, height: int) -> list[Line]:
    """The condensed detail pane below a short table, in `height` lines: what does not fit is cut, not dropped."""
    if height < 2:
        return []
    is_wide = width >= _TWO_COLUMNS
    half = (width - 3) // 2 if is_wide else width
    numbers, slots = device_ledgers(view, frame, half, brief=True), slot_lines(view, half)
    most = _MOST_TOLD if height >= _TALL else 1
    # As many lines always: one more or less would draw everything below it anew.
    told = [*wrap(" · ".join(_room(view)), width - 2), *[""] * most][:most]
    room = height - 1 - len(told)
    body = beside(_cut(numbers, room), _cut([slots], room), half) if is_wide else _cut([slots, *numbers], room)
    left_over = room - len(body) - 1
    if left_over >= _LEAST_PLOTS:
        # Only when they fit: drawing them takes its time.
        body = [*body, (), *history_lines(view, trail, _PREVIEW_SECONDS, width, left_over)]
    marks = ("▸ ", *["  "] * (len(told) - 1))
    return [(), *((Piece(mark, "key"), Piece(text, "strong")) for mark, text in zip(marks, told, strict=True)), *body]


def _as_many(words: list[str], width: int) -> list[str]:
    """The first of them that stand in a line of that width, joined by " · "; the first always."""
    count = len(words)
    while count > 1 and cell_len(" · ".join(words[:count])) > width:
        count -= 1
    return words[:count]


def _cut(sections: list[list[Line]], height: int) -> list[Line]:
    """The sections in at most so many lines; the one that does not fit ends with how much is left out."""
    lines: list[Line] = []
    for section in filter(None, sections):
        room = height - len(lines) - bool(lines)
        if len(section) <= room:
            lines += [(), *section] if lines else section
            continue
        if room >= _LEAST_CUT:
            more = (Piece(f"… {len(section) - room + 1} more lines: Enter opens", "faint"),)
            lines += [*([()] if lines else []), *section[: room - 1], more]
        break
    return lines


def _stacked(sections: list[list[Line]]) -> list[Line]:
    lines: list[Line] = []
    for section in filter(None, sections):
        lines += [(), *section] if lines else section
    return lines


def derivation_lines(view: ServerView, width: int) -> list[Line]:
    """Every step from the model file and the options to the bytes, with the engine's rule behind it."""
    plan = view.plan
    if plan is None:
        why = view.plan_note or "nothing was computed for this server"
        return [rule("Derivation", width), *((Piece(text),) for text in wrap(f"There is none: {why}.", width))]
    lines = [rule(f"Derivation · {plan.architecture} · {plan.rules_version}", width)]
    for number, step in enumerate(plan.steps, 1):
        first, *rest = wrap(step.text, width - 5)
        lines += [(Piece(f"{number:>3}  ", "key"), Piece(first)), *((Piece("     " + text),) for text in rest)]
        lines += [(Piece("     " + text),) for text in (wrap(step.arithmetic, width - 5) if step.arithmetic else ())]
        lines += [(Piece("     " + text, "faint"),) for text in (wrap(step.rule, width - 5) if step.rule else ())]
    for warning in plan.warnings:
        lines += [(Piece(text, "warning"),) for text in wrap(f"▲ {warning}", width)]
    return lines


def _state(view: ServerView, width: int) -> list[Line]:
    reading = view.reading
    words, role = verdict_text(view)
    told = (
        f"{view.engine_text} {reading.version or ''}".strip(),
        reading.url or reading.id,
        _pids(reading.pids),
        "on another machine: nothing is measured" if reading.is_remote else "",
    )
    where = [text for text in told if text]
    near = _as_many(where, width - cell_len(words) - 2)
    first = left(" · ".join(near), width - cell_len(words) - 2).rstrip()
    lines: list[Line] = [(Piece(f"{words}  ", role or "strong"), Piece(first))]
    lines += [(Piece(text),) for text in wrap(" · ".join(where[len(near) :]), width) if text]
    lines += _gauge(view, width)
    lines += [(Piece(text),) for text in wrap(" · ".join(_room(view)), width)]
    if reading.hint:
        lines += [(Piece(text, "warning"),) for text in wrap(f"→ {reading.hint}", width)]
    return lines


def _gauge(view: ServerView, width: int) -> list[Line]:
    """The KV cache as one bar, where its use is known."""
    ratio = view.kv_cache.used_ratio
    if ratio is None:
        return []
    number = ("≤" if view.kv_cache.used_is_upper_bound else "") + ratio_text(ratio)
    share = round(min(ratio, 1.0) * 1000)
    drawn = bar((Part(KV_USED, share), Part(FREE, 1000 - share)), width - 9)
    return [(Piece("KV ", "strong"), *drawn, Piece(f"{number:>6}", "strong"))]


def _room(view: ServerView) -> list[str]:
    """What a person asks first: when is it full, does the next request fit, how full is it; then the rest."""
    cache, headroom, filling = view.kv_cache, view.headroom, view.time_to_full
    words = [forecast_text(filling)]
    if headroom.more_requests is not None:
        count = headroom.more_requests
        requests = "no further request" if not count else f"{count} more request{'' if count == 1 else 's'}"
        words.append(f"room for {requests} of {tokens_text(headroom.request_tokens)}")
    if cache.used_ratio is not None:
        at_most = "at most " if cache.used_is_upper_bound else ""
        words.append(f"KV cache {at_most}{ratio_text(cache.used_ratio)} of {tokens_text(cache.capacity_tokens)} tokens")
    if headroom.cache_tokens_left is not None and filling.cause and filling.state is not Filling.GROWING:
        words.append(f"least left: {tokens_text(headroom.cache_tokens_left)} tokens in {filling.cause}")
    return [*words, *_free(view)]


def _free(view: ServerView) -> list[str]:
    free = view.headroom.device_free_bytes
    sizes = [size for _, size in free if size is not None]
    if len(free) > 2 and len(sizes) == len(free):
        low, high = bytes_text(min(sizes)), bytes_text(max(sizes))
        return [f"free on each of {len(free)} devices: {low if low == high else f'{low} to {high}'}"]
    return [f"free on {device}: {bytes_text(size)}" for device, size in free]


def _pids(pids: tuple[int, ...]) -> str:
    more = f" and {len(pids) - 1} more" if len(pids) > 1 else ""
    return f"pid {pids[0]}{more}" if pids else ""


def _findings(view: ServerView, width: int) -> list[Line]:
    lines: list[Line] = []
    for finding in view.findings:
        lines += finding_lines(finding, width)
    return [rule("Findings", width), *lines] if lines else []


def _cache(view: ServerView, width: int) -> list[Line]:
    cache = view.kv_cache
    amount = f"{tokens_text(cache.used_tokens)} of {tokens_text(cache.capacity_tokens)} tokens"
    used = f"{amount} ({ratio_text(cache.used_ratio)})"
    waiting = view.reading.counters.requests_waiting
    per_token = None if cache.bytes_per_token is None else round(cache.bytes_per_token)
    facts = (
        ("types", cache_types_text(cache.type_k, cache.type_v), cache.types_source),
        ("used", used, "at most: slots may share cells" if cache.used_is_upper_bound else ""),
        ("per token", bytes_text(per_token), "all devices"),
        ("generating", f"{rate_text(view.generated_tokens_per_second)} tokens/s", ""),
        ("reading", f"{rate_text(view.prompt_tokens_per_second)} tokens/s", "prompt"),
        ("waiting", "?" if waiting is None else f"{waiting:.0f} requests", ""),
    )
    return [rule("KV cache and speed", width), *_facts(facts, width)]


def _model(view: ServerView, width: int) -> list[Line]:
    model, plan = view.reading.model, view.plan
    parameters = "?" if model.parameters is None else f"{model.parameters / 1e9:.1f} billion"
    facts = [
        ("name", model.name or "?", ""),
        ("file", model.path or "?", ""),
        ("weights", f"{bytes_text(model.tensor_bytes)}, {model.quantization or '?'}", ""),
        ("parameters", parameters, ""),
        ("trained for", f"{tokens_text(model.trained_context_tokens)} tokens", ""),
    ]
    if plan is not None:
        facts.append(("planned by", plan.rules_version, plan.architecture))
    lines = [rule("Model", width), *_facts(tuple(facts), width)]
    if view.plan_note and view.splits:
        lines += [(Piece(text, "warning"),) for text in wrap(f"plan: {view.plan_note}", width)]
    return lines


def _launch(view: ServerView, width: int) -> list[Line]:
    launch = view.reading.launch
    if launch is None:
        return [rule("Launch options", width), (Piece("The command line could not be read.", "faint"),)]
    facts = tuple((option.name, option.value, f"{option.origin.value} {option.detail}") for option in launch.options)
    lines = [rule("Launch options, and the source of each", width), *_facts(facts, width, 22)]
    for text in launch.errors:
        lines += [(Piece(part, "error"),) for part in wrap(f"■ {text}", width)]
    if launch.unknown:
        lines += [(Piece(part, "warning"),) for part in wrap(f"not recognised: {' '.join(launch.unknown)}", width)]
    return lines


def _known(view: ServerView, width: int) -> list[Line]:
    facts = tuple((fact.name, fact.value, f"{fact.origin.value} {fact.detail}".strip()) for fact in view.facts)
    return [rule("Facts, and the source of each", width), *_facts(facts, width, 22)] if facts else []


def _facts(facts: tuple[tuple[str, str, str], ...], width: int, label: int = 14) -> list[Line]:
    lines: list[Line] = []
    for name, value, note in facts:
        room = width - label
        first, *rest = wrap(value, room)
        tail = (Piece(f"  {note}", "faint"),) if note and not rest and len(first) + len(note) + 2 <= room else ()
        lines.append((Piece(left(name, label - 1) + " ", "faint"), Piece(first), *tail))
        lines += [(Piece(" " * label + text),) for text in rest]
        if note and not tail:
            lines += [(Piece(" " * label + text, "faint"),) for text in wrap(note, room)]
    return lines
