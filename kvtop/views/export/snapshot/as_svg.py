"""One Frame as a picture: a bar a device, a bar a server, and what the colours mean. Drawn here, with no toolkit."""

from datetime import UTC, datetime

from kvtop.domain.device import DeviceState
from kvtop.domain.frame import DeviceView, Frame, ServerView
from kvtop.text import bytes_text, ratio_text, tokens_text
from kvtop.views.bar_parts import Part, device_parts, split_parts
from kvtop.views.demo_mark import DEMO_MARK
from kvtop.views.export.untrusted import xml_text
from kvtop.views.segment_table import FREE, LOOKS

WIDTH = 960
_LEFT, _BAR_WIDTH, _BAR_HEIGHT, _ROW = 24, 912, 22, 74
_NAME_LIMIT = 64


def svg_text(frame: Frame) -> str:
    """A standalone SVG document with a final newline."""
    return picture(frame) + "\n"


def picture(frame: Frame) -> str:
    """The `<svg>` element; HTML embeds it as it is."""
    taken_at = datetime.fromtimestamp(frame.taken_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    mark = f"  {DEMO_MARK}" if frame.is_demo else ""
    body = [
        _words(_LEFT, 36, f"kvtop on {frame.host}{mark}", "head"),
        _words(WIDTH - 24, 36, taken_at, "faint", anchor="end"),
    ]
    top = 64
    for device in frame.devices:
        body.extend(_device_row(frame.with_slices(device), top))
        top += _ROW
    if frame.servers:
        body.append(_words(_LEFT, top + 8, "servers", "faint"))
        top += 24
    whole = max((server.held.least_bytes for server in frame.servers), default=0)
    for server in frame.servers:
        body.extend(_server_row(server, top, whole))
        top += _ROW
    if not frame.servers:
        unseen = "not looked at yet: " + ", ".join(frame.pending) if frame.pending else "no servers"
        body.append(_words(_LEFT, top + 8, unseen, "faint"))
        top += 24
    body.extend(_legend(top + 8))
    height = top + 48
    title = xml_text(f"Accelerator memory on {frame.host} at {taken_at}{mark}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14">\n<title>{title}</title>\n'
        f'<rect width="{WIDTH}" height="{height}" rx="10" fill="#12151c"/>\n' + "\n".join(body) + "\n</svg>"
    )


def _device_row(view: DeviceView, top: int) -> list[str]:
    device, memory = view.device, view.device.memory
    state = "" if device.state is DeviceState.OK else f"  [{device.state.value}: {device.note or 'no reason given'}]"
    right = f"{bytes_text(memory.used_bytes)} of {bytes_text(memory.total_bytes)}"
    return [
        _words(_LEFT, top + 12, _short(f"{device.id}  {device.name}{state}"), "plain"),
        _words(WIDTH - 24, top + 12, right, "plain", anchor="end"),
        *_bar(device_parts(view), top + 22, memory.total_bytes),
    ]


def _server_row(view: ServerView, top: int, whole_bytes: int) -> list[str]:
    reading, cache = view.reading, view.kv_cache
    types = cache.type_k or "?" if cache.type_k == cache.type_v else f"{cache.type_k or '?'}/{cache.type_v or '?'}"
    bound = "≤" if cache.used_is_upper_bound and cache.used_ratio is not None else ""
    right = f"KV {types}, {bound}{ratio_text(cache.used_ratio)} of {tokens_text(cache.capacity_tokens)} tokens"
    name = reading.model.name or reading.model.path or "model unknown"
    parts = split_parts(view.where_it_lies)
    total = sum(part.size_bytes for part in parts)
    return [
        _words(_LEFT, top + 12, _short(f"{reading.id}  {reading.engine}  {name.rsplit('/', 1)[-1]}"), "plain"),
        _words(WIDTH - 24, top + 12, f"{bytes_text(view.held.value_bytes)}  {right}", "plain", anchor="end"),
        *_bar(parts, top + 22, max(whole_bytes, total)),
    ]


def _bar(parts: tuple[Part, ...], top: int, whole_bytes: int | None) -> list[str]:
    sizes = sum(part.size_bytes for part in parts)
    whole = max(whole_bytes or 0, sizes)
    if whole == 0:
        return [_words(_LEFT, top + 16, "? nothing is known about this memory", "faint")]
    drawn, left = [], float(_LEFT)
    for part in (it for it in parts if it.size_bytes > 0):
        width = part.size_bytes * _BAR_WIDTH / whole
        label = f"{part.look.label} {bytes_text(part.size_bytes)}"
        drawn.append(
            f'<rect x="{left:.2f}" y="{top}" width="{width:.2f}" height="{_BAR_HEIGHT}" fill="{part.look.colour}">'
            f"<title>{xml_text(label)}</title></rect>"
        )
        if width > 8.6 * len(label) + 8:
            ink = "#12151c" if part.look is not FREE else "#9aa4b8"
            drawn.append(
                f'<text x="{left + 6:.2f}" y="{top + 16}" font-size="13" fill="{ink}">{xml_text(label)}</text>'
            )
        left += width
    return drawn


def _legend(top: int) -> list[str]:
    drawn, left = [], _LEFT
    for look in LOOKS:
        drawn.append(f'<rect x="{left}" y="{top}" width="12" height="12" fill="{look.colour}" stroke="#586174"/>')
        drawn.append(_words(left + 17, top + 11, look.label, "faint", size=12))
        left += 17 + 8 * len(look.label) + 18
    return drawn


def _words(left: int, top: int, text: str, kind: str, *, anchor: str = "start", size: int = 0) -> str:
    colour = {"head": "#c8d0e0", "plain": "#c8d0e0", "faint": "#7f899c"}[kind]
    points = size or (17 if kind == "head" else 14)
    place = f'x="{left}" y="{top}" fill="{colour}" font-size="{points}" text-anchor="{anchor}"'
    return f"<text {place}>{xml_text(text)}</text>"


def _short(text: str) -> str:
    return text if len(text) <= _NAME_LIMIT else f"{text[: _NAME_LIMIT - 1]}…"
