"""Metric families in the two formats that Prometheus reads: its own text format 0.0.4, and OpenMetrics 1.0."""

import math
from collections.abc import Iterable

from kvtop.domain.frame import Frame
from kvtop.views.export.metrics.families import Family, families
from kvtop.views.export.metrics.places import Labels
from kvtop.views.export.untrusted import label_text

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def prometheus_text(frame: Frame) -> str:
    """The Frame in the text format 0.0.4: what a textfile collector takes."""
    return text_format(families(frame))


def text_format(listed: Iterable[Family]) -> str:
    """Text format 0.0.4. It knows no info metrics: they are gauges there, and counters carry `_total` in their name."""
    lines = []
    for family in listed:
        name = _series(family)
        kind = "counter" if family.kind == "counter" else "gauge"
        lines += [f"# HELP {name} {_help(family.help)}", f"# TYPE {name} {kind}"]
        lines += _rows(name, family)
    return "\n".join(lines) + "\n" if lines else ""


def openmetrics(listed: Iterable[Family]) -> str:
    """OpenMetrics 1.0, ended by its own mark so that a cut answer is noticed."""
    lines = []
    for family in listed:
        lines += [f"# TYPE {family.name} {family.kind}"]
        if family.unit:
            lines += [f"# UNIT {family.name} {family.unit}"]
        lines += [f"# HELP {family.name} {_help(family.help)}"]
        lines += _rows(_series(family), family)
    return "\n".join([*lines, "# EOF"]) + "\n"


def _rows(name: str, family: Family) -> list[str]:
    """A line a series. Two names that only differ in what is not shown would be one series twice: the first stays."""
    rows: dict[str, float] = {}
    for labels, value in family.rows:
        rows.setdefault(_labels(labels), value)
    return [f"{name}{labels} {_number(value)}" for labels, value in rows.items()]


def _series(family: Family) -> str:
    return family.name + {"counter": "_total", "info": "_info"}.get(family.kind, "")


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _labels(labels: Labels) -> str:
    shown = ",".join(f'{name}="{label_text(value)}"' for name, value in labels)
    return f"{{{shown}}}" if shown else ""


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)
