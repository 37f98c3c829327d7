"""A Comparison for people: by server and topic, each number with its change and its cause."""

from datetime import UTC, datetime
from itertools import groupby

from kvtop.domain.answers.comparison import Comparison, Difference, HostState, Topic
from kvtop.text import bytes_text, visible
from kvtop.views.segment_table import label_of

_INDENT = "    "


def diff_text(comparison: Comparison) -> str:
    """Lines with a final newline."""
    lines = [_side("A", comparison.before), _side("B", comparison.after), ""]
    for (subject, topic), group in groupby(comparison.differences, key=lambda it: (it.subject, it.topic)):
        lines.append(f"{visible(subject)}: {topic.value}")
        listed = list(group)
        width = max(len(_what(it)) for it in listed)
        for it in listed:
            lines.append(_INDENT + _line(it, width))
            if it.cause:
                lines.append(f"{_INDENT}{'':{width}}  {visible(it.cause, 2000)}")
        lines.append("")
    within = f"within {comparison.tolerance_ratio * 100:g} %"
    if not comparison.differences:
        lines.append("no difference")
    elif not comparison.differs:
        moving = ", or changes on its own" if any(it.moves_by_itself for it in comparison.differences) else ""
        lines.append(f"no difference that counts: everything is {within}{moving}")
    return "\n".join(lines) + "\n"


def _side(label: str, side: HostState) -> str:
    """A line for one side; a command line is called by the label alone."""
    when = (
        "" if side.taken_at is None else datetime.fromtimestamp(side.taken_at, UTC).strftime("  %Y-%m-%d %H:%M:%S UTC")
    )
    named = side.name if side.name == label else f"{label}  {side.name}"
    return visible(f"{named}  {side.host}{when}")


def _line(it: Difference, width: int) -> str:
    what = f"{_what(it):{width}}"
    if it.topic in {Topic.FINDING, Topic.SERVER, Topic.DEVICE}:
        sign, words = ("-", it.before) if it.after is None else ("+", it.after)
        return f"{sign} {what}  {visible(str(words))}"
    change = "" if it.ratio is None else f"  ({it.ratio * 100:+.3g} %)"
    if it.moves_by_itself:
        return f"{what}  {_value(it.before, it)} → {_value(it.after, it)}{change}  changes on its own (--all counts it)"
    small = "" if it.counts else "  within the tolerance" if None not in {it.before, it.after} else "  not known"
    return f"{what}  {_value(it.before, it)} → {_value(it.after, it)}{change}{small}"


def _what(it: Difference) -> str:
    """What differs, as people call it: a segment by its label."""
    return visible(label_of(it.what) if it.topic is Topic.MEMORY else it.what)


def _value(value: str | float | None, it: Difference) -> str:
    if value is None:
        return "(not set)" if it.topic is Topic.CONFIGURATION and it.what.startswith("--") else "?"
    if isinstance(value, str):
        return visible(value)
    if it.unit == "bytes":
        return bytes_text(round(value))
    if it.unit == "bytes per token":
        return f"{bytes_text(round(value))} a token"
    return f"{value:g} {it.unit}".strip() if value != int(value) else f"{int(value)} {it.unit}".strip()
