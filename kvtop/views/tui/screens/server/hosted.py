"""The models of a server that holds several, and when a model leaves."""

from kvtop.domain.engine_report import HostedModel
from kvtop.domain.frame import ServerView
from kvtop.text import bytes_text, duration_text, tokens_text
from kvtop.views.tui.widgets.lines import Line, Piece, left, rule


def hosted_lines(view: ServerView, taken_at: float, width: int) -> list[Line]:
    """A line a model, or one line for a model that its engine will unload; empty where nothing of this is told."""
    reading = view.reading
    if reading.hosted:
        return [rule(f"Models ({len(reading.hosted)})", width), *(_line(it, taken_at, width) for it in reading.hosted)]
    leaves = _unloads(reading.model.expires_at, taken_at)
    return (
        [rule("Expiry", width), (Piece(left(f"{leaves}; each request puts it off", width).rstrip()),)] if leaves else []
    )


def _line(model: HostedModel, taken_at: float, width: int) -> Line:
    told = [model.state, model.quantization or ""]
    if model.device_bytes is not None and model.size_bytes is not None and model.device_bytes < model.size_bytes:
        told.append(f"{bytes_text(model.device_bytes)} of {bytes_text(model.size_bytes)} on devices")
    elif model.size_bytes is not None:
        told.append(bytes_text(model.size_bytes))
    if model.context_tokens is not None:
        told.append(f"{tokens_text(model.context_tokens)} tokens")
    told += [_unloads(model.expires_at, taken_at), model.url or ""]
    return (Piece(left(f"{model.name}  {' · '.join(filter(None, told))}", width).rstrip()),)


def _unloads(expires_at: float | None, taken_at: float) -> str:
    if expires_at is None:
        return ""
    left_seconds = expires_at - taken_at
    return f"unloads in {duration_text(left_seconds)}" if left_seconds > 0 else "about to unload"
