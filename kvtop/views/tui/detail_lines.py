"""One server as a ledger: every figure with its basis and who says so."""

from kvtop.domain.figure import Basis, Figure
from kvtop.domain.frame import Frame, Segment, ServerView, Split
from kvtop.text import bytes_text, rate_text, ratio_text, tokens_text
from kvtop.views.tui.lines import Line, Piece, left, right, rule, wrap
from kvtop.views.tui.segments import FREE, KV_USED, OF_SEGMENT, Part, bar, split_parts
from kvtop.views.tui.server_lines import STATE_LOOK, cache_types_text, engine_text

_WORDS = {Segment.KV_CACHE: "KV cache"}
_SEVERITY = {"error": ("■", "error"), "warning": ("▲", "warning")}


def detail_lines(view: ServerView | None, frame: Frame, width: int) -> list[Line]:
    """The whole page, to be scrolled."""
    if view is None:
        gone = "No server is selected." if frame.servers else "There is no server."
        return [(Piece(gone, "strong"),), (Piece("Esc goes back to the overview.", "faint"),)]
    sections = [_state(view, width), _findings(view, width)]
    sections += [_ledger(split, frame, width) for split in view.splits] or [_no_split(view, width)]
    sections += [_slots(view, width), _cache(view, width), _model(view, width), _launch(view, width)]
    lines: list[Line] = []
    for section in filter(None, sections):
        lines += [(), *section] if lines else section
    return lines


def basis_text(figure: Figure) -> str:
    """The basis as a word, with the range where there is one: "estimated ±24.0 MiB"."""
    if figure.basis is Basis.ESTIMATED and figure.low_bytes is not None and figure.high_bytes is not None:
        return f"estimated ±{bytes_text((figure.high_bytes - figure.low_bytes + 1) // 2)}"
    if figure.basis is Basis.UNKNOWN and figure.high_bytes is not None:
        return f"unknown, at most {bytes_text(figure.high_bytes)}"
    return figure.basis.value


def _state(view: ServerView, width: int) -> list[Line]:
    reading = view.reading
    mark, role = STATE_LOOK[reading.state]
    where = reading.url or reading.id
    words = " · ".join(
        filter(
            None,
            (
                f"{engine_text(reading.engine)} {reading.version or ''}".strip(),
                where,
                f"pid {', '.join(map(str, reading.pids))}" if reading.pids else "",
                "on another machine: nothing is measured" if reading.is_remote else "",
            ),
        )
    )
    lines: list[Line] = [(Piece(f"{mark} {reading.state.value}  ", role), Piece(left(words, width - 14).rstrip()))]
    if reading.hint:
        lines += [(Piece(text, "warning"),) for text in wrap(f"→ {reading.hint}", width)]
    return lines


def _findings(view: ServerView, width: int) -> list[Line]:
    lines: list[Line] = []
    for finding in view.findings:
        mark, role = _SEVERITY.get(finding.severity, ("•", "faint"))
        first, *rest = wrap(f"{finding.code} {finding.message}", width - 2)
        lines += [(Piece(f"{mark} ", role), Piece(first)), *((Piece(f"  {text}"),) for text in rest)]
        for text in (finding.evidence, f"fix: {finding.fix}" if finding.fix else ""):
            lines += [(Piece(f"  {part}", "faint"),) for part in (wrap(text, width - 2) if text else ())]
    return [rule("Findings", width), *lines] if lines else []


def _no_split(view: ServerView, width: int) -> list[Line]:
    why = view.plan_note or "No device lists this server's processes."
    return [rule("Memory", width), *((Piece(text),) for text in wrap(why, width))]


def _ledger(split: Split, frame: Frame, width: int) -> list[Line]:
    device = next((row.device for row in frame.devices if row.device.id == split.device_id), None)
    title = f"Memory on {split.device_id}" + (f" · {device.name}" if device is not None else "")
    parts = split_parts((split,))
    lines = [rule(title, width), bar(parts, width)]
    figures = [figure.value_bytes for _, figure in split.segments()]
    known = [size for size in figures if size is not None]
    total = sum(known)
    for segment, figure in split.segments():
        look = OF_SEGMENT[segment]
        lines += _row(look.glyph, look.role, _WORDS.get(segment, look.word), figure, width)
        if segment is Segment.KV_CACHE:
            used = f"{KV_USED.glyph} {bytes_text(split.kv_used_bytes)} of it holds tokens now"
            lines.append((Piece("    "), Piece(used[0], KV_USED.role), Piece(used[1:], "faint")))
    lines.append((Piece("  " + "─" * 24, "faint"),))
    lines += _row("=", "strong", "driver", split.driver, width)
    if not known:
        lines.append((Piece("  no part of it is known", "faint"),))
    elif split.driver.value_bytes is None:
        lines.append((Piece(f"  {'known parts':<14}{bytes_text(total):>9}", "faint"),))
    elif len(known) < len(figures):
        lines.append((Piece(f"  {'parts known':<14}{bytes_text(total):>9}  the rest is unknown", "faint"),))
    elif total != split.driver.value_bytes:
        lines.append((Piece(f"  the parts add up to {bytes_text(total)}", "warning"),))
    return lines


def _row(glyph: str, role: str, word: str, figure: Figure, width: int) -> list[Line]:
    basis = basis_text(figure)
    head = (
        Piece(f"{glyph} ", role),
        Piece(f"{word:<14}", "strong" if glyph == "=" else ""),
        Piece(right(bytes_text(figure.value_bytes), 9), "strong"),
        Piece(f"  {basis:<20}", "warning" if figure.basis is Basis.UNKNOWN else ""),
    )
    if not figure.source:
        return [head]
    if width < 96:
        return [head, *((Piece(f"    {text}", "faint"),) for text in wrap(figure.source, width - 4))]
    first, *rest = wrap(figure.source, width - 48)
    return [(*head, Piece(f" {first}", "faint")), *((Piece(" " * 48 + text, "faint"),) for text in rest)]


def _slots(view: ServerView, width: int) -> list[Line]:
    slots = view.reading.slots
    if not slots:
        return []
    lines = [rule(f"Slots ({len(slots)})", width)]
    bar_width = max(width - 40, 8)
    for slot in slots:
        ratio = slot.used_tokens / slot.context_tokens if slot.used_tokens is not None and slot.context_tokens else None
        word = "?" if slot.is_processing is None else "● busy" if slot.is_processing else "○ idle"
        role = "good" if slot.is_processing else "faint"
        used = () if slot.used_tokens is None else (Part(KV_USED, slot.used_tokens),)
        rest = max((slot.context_tokens or 0) - (slot.used_tokens or 0), 0)
        drawn = bar((*used, Part(FREE, rest)), bar_width) if ratio is not None else (Piece("?" * bar_width, "faint"),)
        numbers = f" {tokens_text(slot.used_tokens):>6} / {tokens_text(slot.context_tokens):<6}{ratio_text(ratio):>5}  "
        lines.append((Piece(f"slot {slot.id:<4}"), *drawn, Piece(numbers), Piece(left(word, 7), role)))
    return lines


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
    lines = [rule("Launch options, and where each was learnt", width), *_facts(facts, width, 22)]
    for text in launch.errors:
        lines += [(Piece(part, "error"),) for part in wrap(f"■ {text}", width)]
    if launch.unknown:
        lines += [(Piece(part, "warning"),) for part in wrap(f"not recognised: {' '.join(launch.unknown)}", width)]
    return lines


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
