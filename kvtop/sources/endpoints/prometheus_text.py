"""Just enough of the Prometheus text format (0.0.4): samples of wanted families, nothing else is looked at."""

import re
from collections.abc import Collection
from dataclasses import dataclass

_LINE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>(?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\})?[ \t]+(?P<value>\S+)"
)
_LABEL = re.compile(r"(?<![a-zA-Z0-9_])([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*\"((?:[^\"\\]|\\.)*)\"")
LINE_LIMIT_CHARACTERS = 1 << 16
"""vLLM's configuration in labels is the longest line of all, with a few thousand characters."""
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class MetricSample:
    """One line: its name, labels and value (NaN and infinities included)."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


def parse_metrics(text: str, wanted: Collection[str]) -> tuple[MetricSample, ...]:
    """The samples whose name is in `wanted`, in order. Lines that do not parse are skipped: they are not ours."""
    samples = []
    for line in text.split("\n"):
        if len(line) > LINE_LIMIT_CHARACTERS:
            continue  # matching takes memory for every character, some two hundred bytes each
        end = len(line)
        for stop in ("{", " ", "\t"):
            at = line.find(stop)
            end = at if 0 < at < end else end
        if line[:end] not in wanted:
            continue
        match = _LINE.match(line)
        if match is None:
            continue
        try:
            value = float(match["value"])
        except ValueError:
            continue
        labels = tuple((name, _unescaped(raw)) for name, raw in _LABEL.findall(match["labels"] or ""))
        samples.append(MetricSample(match["name"], labels, value))
    return tuple(samples)


def _unescaped(raw: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], raw)
