"""Print how kvtop's plans compare with the engine's own allocation, as a Markdown table.

    python -m tests.oracle.table

One row a model: cases, how many have exact weights and exact caches on every device, and how far the estimate of
compute buffers is off (median and 95th percentile of the absolute error over devices, and how often the truth lies in
the stated range). Exits with 1 when anything that must be exact is not.
"""

import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from kvtop.domain.memory import CACHES, Segment
from kvtop.domain.plan import MemoryPlan, Refusal
from kvtop.planning.llamacpp.memory.prepared import PreparedModel, prepare
from kvtop.planning.llamacpp.planner import plan
from tests.amounts import high_of, low_of, size_of
from tests.oracle.cases import FIXTURE, MORE_MODELS, Case, load_architectures, load_oracle, load_placements


@dataclass(slots=True)
class Row:
    """Counts of one model. A refused case counts as exact when the words are the engine's."""

    cases: int = 0
    exact_weights: int = 0
    exact_caches: int = 0
    compute_errors: list[float] = field(default_factory=list)
    compute_in_range: int = 0

    def add(self, other: "Row") -> None:
        """Count another row's cases too."""
        self.cases += other.cases
        self.exact_weights += other.exact_weights
        self.exact_caches += other.exact_caches
        self.compute_errors += other.compute_errors
        self.compute_in_range += other.compute_in_range

    def markdown(self, name: str) -> str:
        """One line of the table."""
        devices = len(self.compute_errors)
        ordered = sorted(self.compute_errors)
        compute = "| - | - | - |"
        if devices:
            median, high = ordered[devices // 2], ordered[min(devices - 1, int(devices * 0.95))]
            compute = f"| {median:.1%} | {high:.1%} | {self.compute_in_range / devices:.0%} |"
        return f"| {name} | {self.cases} | {self.exact_weights} | {self.exact_caches} {compute}"


def _compare(case: Case, prepared: PreparedModel) -> Row:
    answer = plan(prepared, case.settings, case.devices)
    if "error" in case.expected:
        same = isinstance(answer, Refusal) and answer.message == case.expected["error"][0]
        return Row(1, int(same), int(same))
    row = Row(1)
    if not isinstance(answer, MemoryPlan):
        return row
    weights = caches = True
    for name, expected in case.expected["by_device"].items():
        device = answer.device(name)
        if device is None:
            return row
        weights &= device.memory.bytes_of(Segment.WEIGHTS) == expected["weights"]
        caches &= size_of(device, *CACHES) == expected["kv"]
        if expected["compute"]:
            row.compute_errors.append(abs(size_of(device, Segment.COMPUTE) - expected["compute"]) / expected["compute"])
            row.compute_in_range += (
                low_of(device, Segment.COMPUTE) <= expected["compute"] <= high_of(device, Segment.COMPUTE)
            )
    row.exact_weights, row.exact_caches = int(weights), int(caches)
    return row


def _tiny_models() -> Row:
    headers, cases = load_architectures()
    prepared = {name: prepare(header) for name, header in headers.items()}
    row = Row()
    for case in cases:
        answer = plan(prepared[case.model], case.settings, ())
        row.cases += 1
        if isinstance(answer, Refusal):
            row.exact_weights += answer.message == case.error
            row.exact_caches += answer.message == case.error
            continue
        host = answer.devices[-1]
        row.exact_weights += host.memory.bytes_of(Segment.WEIGHTS) == case.weights_bytes
        row.exact_caches += size_of(host, *CACHES) == case.cache_bytes
    for placed in load_placements():
        answer = plan(prepared[placed.model], placed.settings, placed.devices)
        row.cases += 1
        if isinstance(answer, MemoryPlan):
            parts = [(one, placed.expected[one.name]) for one in answer.devices]
            row.exact_weights += all(one.memory.bytes_of(Segment.WEIGHTS) == expected[0] for one, expected in parts)
            row.exact_caches += all(size_of(one, *CACHES) == expected[1] for one, expected in parts)
    return row


def _print_models(path: Path) -> Row:
    oracle = load_oracle(path)
    prepared = {name: prepare(header) for name, header in oracle.headers.items()}
    rows: dict[str, Row] = defaultdict(Row)
    for case in oracle.cases:
        rows[case.model].add(_compare(case, prepared[case.model]))
    total = Row()
    for name, row in sorted(rows.items()):
        print(row.markdown(f"{name} ({prepared[name].hparams.arch})"))
        total.add(row)
    print(total.markdown(f"**{len(rows)} models at real size**"))
    return total


def main() -> int:
    """Print the table; 0 when all that must be exact is."""
    tiny = _tiny_models()
    total = Row()
    print("| model | cases | weights exact | caches exact | compute median | p95 | in range |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for path in (FIXTURE, MORE_MODELS):
        total.add(_print_models(path))
    architectures = len({prepare(header).hparams.arch for header in load_architectures()[0].values()})
    print(tiny.markdown(f"**tiny models of {architectures} architectures**"))
    total.add(tiny)
    return 0 if total.cases == total.exact_weights == total.exact_caches else 1


if __name__ == "__main__":
    sys.exit(main())
