"""Where a server runs, as labels of its series: so that pods are summed up without a join."""

import re
from collections.abc import Mapping

from kvtop.domain.frame import ServerView

Labels = tuple[tuple[str, str], ...]
Rows = tuple[tuple[Labels, float], ...]

_KUBERNETES = ("namespace", "pod", "container")
_ID = re.compile(r"[0-9a-f]{12,64}")


def place(view: ServerView) -> Labels:
    """Container, and of Kubernetes its namespace and pod, where they have a name: ids are new with every start."""
    label = next((fact.value for fact in view.facts if fact.name == "container"), "")
    name = label.partition(" ")[2]
    if not name or _ID.fullmatch(name):
        return ()
    parts = name.split("/")
    return tuple(zip(_KUBERNETES, parts, strict=True)) if len(parts) == len(_KUBERNETES) else (("container", name),)


def placed(rows: Rows, places: Mapping[str, Labels]) -> Rows:
    """The rows; those with a label `server` get the place of that server."""
    servers = [dict(labels).get("server", "") for labels, _ in rows]
    return tuple(
        ((*labels, *places.get(server, ())), value) for server, (labels, value) in zip(servers, rows, strict=True)
    )
