"""Series by who they belong to, sorted once: a look at each owner must not walk the series of all."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from kvtop.sources.fleet.series import Series

Rows = Mapping[str, Sequence[Series]]
"""One owner's series by metric name."""
NO_ROWS: Rows = {}


def grouped(
    series: Mapping[str, Sequence[Series]], names: Iterable[str], owner: Callable[[Series], str]
) -> dict[str, Rows]:
    """The series of these names by owner, then by name, in their order."""
    found: dict[str, dict[str, list[Series]]] = {}
    for name in names:
        for it in series.get(name, ()):
            found.setdefault(owner(it), {}).setdefault(name, []).append(it)
    return dict(found)
