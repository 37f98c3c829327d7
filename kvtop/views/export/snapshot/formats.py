"""The formats of a snapshot by the word that asks for them; a format is imported when it is wanted."""

from collections.abc import Callable
from importlib import import_module

from kvtop.domain.frame import Frame

_PLACES = {
    "json": ("snapshot.as_json", "snapshot_text"),
    "csv": ("snapshot.as_csv", "csv_document"),
    "markdown": ("snapshot.as_markdown", "markdown_document"),
    "svg": ("snapshot.as_svg", "svg_text"),
    "html": ("snapshot.as_html", "html_document"),
    "prometheus": ("metrics.exposition", "prometheus_text"),
}
FORMATS = tuple(_PLACES)
SUFFIXES = {".json": "json", ".csv": "csv", ".md": "markdown", ".svg": "svg", ".html": "html", ".prom": "prometheus"}
"""The format that a file's name asks for, where nothing else does."""


def render(frame: Frame, name: str) -> str:
    """The Frame in that format, one of FORMATS. Raises KeyError for another word."""
    module, function = _PLACES[name]
    make: Callable[[Frame], str] = getattr(import_module(f"kvtop.views.export.{module}"), function)
    return make(frame)
