"""Series of a metrics server: one value with its name and labels, and who they belong to."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kvtop.sources.redaction.redact import clean

UP = "up"
_COLLECTOR = frozenset({"job", "service", "endpoint", "prometheus", "monitor"})
_REPLICA = ("replica", "replica__")
_CLUSTER = ("cluster", "cluster_name", "k8s_cluster_name", "k8s_cluster", "kubernetes_cluster", "region", "datacenter")
"""Labels that Prometheus adds for everything it scrapes, by the names in use; the first that is set counts."""
_RENAMED = re.compile(r"(?:kserve_|ray_)?vllm[:_](.+)")
"""vLLM's metrics behind KServe (`kserve_vllm:…`), Ray (`ray_vllm_…`) and OpenTelemetry (`vllm_…`)."""

_MOST = 2.0**62
"""More bytes than any machine has: sums of such numbers would no longer be numbers."""


@dataclass(frozen=True, slots=True)
class Series:
    """One element of an instant vector. `labels` are without `__name__`."""

    name: str
    labels: Mapping[str, str]
    value: float

    def label(self, *names: str) -> str | None:
        """The first of these labels that is set, made harmless for a terminal."""
        for name in names:
            if self.labels.get(name):
                return clean(self.labels[name])
        return None

    @property
    def whole(self) -> int | None:
        """The value as a whole number; None for NaN, infinities and what no machine has: "nothing measured"."""
        return round(self.value) if math.isfinite(self.value) and abs(self.value) < _MOST else None

    @property
    def cluster(self) -> str:
        """The name of its cluster and a slash, or "": pods and nodes of two clusters may share every name."""
        named = self.label(*_CLUSTER)
        return f"{named}/" if named else ""

    @property
    def host(self) -> str:
        """The machine: what the exporter calls it, else the address that is scraped, without its port."""
        named = self.label("Hostname", "hostname", "node", "exported_node")
        instance = self.label("instance") or "unknown host"
        return self.cluster + (named or (instance.rpartition(":")[0] or instance))

    @property
    def pod(self) -> str | None:
        """namespace/pod of the workload: an exporter for a whole node puts it into `exported_*` labels."""
        name = self.label("exported_pod", "pod", "pod_name")
        space = self.label("exported_namespace", "namespace", "pod_namespace")
        if name is None:
            return None
        return self.cluster + (f"{space}/{name}" if space else name)

    @property
    def target(self) -> str:
        """What a person would look for in the metrics server: the instance that was scraped, in its cluster."""
        return self.cluster + (self.label("instance") or "unknown target")


def vector(document: object) -> tuple[Series, ...]:
    """The result of `/api/v1/query`. Raises ValueError with the server's own words for anything else."""
    if not isinstance(document, dict):
        raise ValueError("not a Prometheus answer")
    if document.get("status") != "success":
        raise ValueError(clean(str(document.get("error") or "the query failed"))[:200])
    data = document.get("data")
    rows = data.get("result") if isinstance(data, dict) and data.get("resultType") == "vector" else None
    if not isinstance(rows, list):
        raise ValueError("the answer holds no vector")
    return tuple(found for row in rows if (found := _series(row)) is not None)


def first_warning(document: object) -> str:
    """What Thanos and Mimir say where a store did not answer: the rows are then not all; "" where they are."""
    warnings = document.get("warnings") if isinstance(document, dict) else None
    return clean(str(warnings[0]))[:200] if isinstance(warnings, list) and warnings else ""


def scrape_errors(body: bytes) -> dict[str, str]:
    """Of an answer to `/api/v1/targets`: instance -> what its last scrape met, for targets that are down."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    data = document.get("data") if isinstance(document, dict) else None
    rows = data.get("activeTargets") if isinstance(data, dict) else None
    found = {}
    for row in rows if isinstance(rows, list) else ():
        labels = row.get("labels") if isinstance(row, dict) else None
        if isinstance(labels, dict) and row.get("health") == "down":
            found[clean(str(labels.get("instance", "")))] = clean(str(row.get("lastError", "")))
    return found


def _series(row: object) -> Series | None:
    if not isinstance(row, dict) or not isinstance(row.get("metric"), dict):
        return None
    pair = row.get("value")
    if not isinstance(pair, list) or len(pair) != 2:
        return None
    try:
        value = float(pair[1])
    except (TypeError, ValueError, OverflowError):
        return None
    labels = {str(name): str(text) for name, text in row["metric"].items()}
    name = labels.pop("__name__", "")
    renamed = None if name.startswith("vllm:") else _RENAMED.fullmatch(name)
    return Series(name if renamed is None else f"vllm:{renamed[1]}", labels, value)


def by_name(found: Iterable[Series]) -> dict[str, list[Series]]:
    """Series by metric name, in the order they came; what was collected twice is there once."""
    names: dict[str, dict[frozenset[tuple[str, str]], Series]] = {}
    for series in found:
        rows, same = names.setdefault(series.name, {}), _identity(series)
        known = rows.get(same)
        # Of two collectors one may not reach a target that the other does: then it is up.
        if known is None or (series.name == UP and series.value > known.value):
            rows[same] = series
    return {name: list(rows.values()) for name, rows in names.items()}


def finite(found: Mapping[str, Sequence[Series]]) -> dict[str, list[Series]]:
    """The same without NaN, infinities and what no machine has: they say that there is nothing to tell."""
    return {name: [it for it in rows if it.whole is not None] for name, rows in found.items()}


def _identity(series: Series) -> frozenset[tuple[str, str]]:
    """The labels that say what was measured, without those that say who collected it.

    One target of two jobs, and two replicas of a Prometheus behind one Thanos, give every series twice; added up they
    would be two servers, or twice the tokens.
    """
    return frozenset(
        (name, value) for name, value in series.labels.items() if name not in _COLLECTOR and not name.endswith(_REPLICA)
    )
