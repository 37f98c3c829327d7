"""The formats of a snapshot by the word that asks for them; a format is imported when it is wanted."""

from collections.abc import Callable
from importlib import import_module
from pathlib import PurePath

from kvtop.domain.frame import Frame

_PLACES = {
    "json": ("export.snapshot.as_json", "snapshot_text"),
    "text": ("text.ledger", "ledger_text"),
    "csv": ("export.snapshot.as_csv", "csv_document"),
    "markdown": ("export.snapshot.as_markdown", "markdown_document"),
    "svg": ("export.snapshot.as_svg", "svg_text"),
    "html": ("export.snapshot.as_html", "html_document"),
    "prometheus": ("export.metrics.exposition", "prometheus_text"),
}
FORMATS = tuple(_PLACES)
SUFFIXES = {
    ".json": "json",
    ".txt": "text",
    ".csv": "csv",
    ".md": "markdown",
    ".svg": "svg",
    ".html": "html",
    ".prom": "prometheus",
}
"""The format that a file's name asks for, where nothing else does."""


def format_of(name: str) -> str:
    """The format of a file of that name: JSON where it has no suffix. Raises ValueError for another suffix."""
    suffix = PurePath(name).suffix.lower()
    if suffix and suffix not in SUFFIXES:
        raise ValueError(f"{name}: no format is written as {suffix} (accepted: {', '.join(SUFFIXES)}, or --format)")
    return SUFFIXES.get(suffix, "json")


def render(frame: Frame, name: str) -> str:
    """The Frame in that format, one of FORMATS. Raises KeyError for another word."""
    module, function = _PLACES[name]
    make: Callable[[Frame], str] = getattr(import_module(f"kvtop.views.{module}"), function)
    return make(frame)
