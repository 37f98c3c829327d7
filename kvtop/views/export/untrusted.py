"""Texts from outside on their way into a file: names of models, processes and slots are untrusted input.

Sources mask and clean what they read live; a Frame may also come from a recording or a metrics server that somebody
else wrote, so every format makes its texts harmless once more.
"""

import re
from html import escape

from kvtop.text import visible

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#|~!&])")


def xml_text(text: str | None) -> str:
    """For SVG and HTML, in content and in double-quoted attributes; "?" for unknown."""
    return "?" if text is None else escape(visible(text), quote=True)


def csv_text(text: str | None) -> str:
    """A cell that no spreadsheet takes for a formula (a quote before = + - @); "" for unknown.

    Quoting of commas and line ends is the csv module's.
    """
    if text is None:
        return ""
    shown = visible(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown


def markdown_text(text: str | None) -> str:
    """One line of plain words in Markdown, also inside a table; "?" for unknown."""
    return "?" if text is None else _MARKDOWN.sub(r"\\\1", visible(text))


def markdown_code(text: str | None) -> str:
    """The same as code: a fence longer than any run of backticks within it."""
    if text is None:
        return "?"
    shown = visible(text).replace("|", "\\|")
    runs = [len(run) for run in re.findall("`+", shown)]
    fence = "`" * (max(runs, default=0) + 1)
    space = " " if runs else ""
    return f"{fence}{space}{shown}{space}{fence}" if shown else "` `"


def label_text(text: str | None) -> str:
    """The value of a Prometheus label between its quotes: backslash, quote and line end escaped; "" for unknown."""
    if text is None:
        return ""
    return visible(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def visible_values(value: object) -> object:
    """Texts from outside, made harmless to print: `cat` shows a snapshot in a terminal too."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(str(key)): visible_values(item) for key, item in value.items()}
    return [visible_values(item) for item in value] if isinstance(value, list) else value
