"""kvtop's plans by the rules of each recorded build, against what that build says: a table for docs/accuracy.md."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kvtop.domain.memory import Segment
from kvtop.domain.plan import MemoryPlan, Refusal
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.planner import plan
from kvtop.planning.llamacpp.refusals import unknown_architecture
from kvtop.planning.llamacpp.rules.ranges import VERSIONS, rules_for
from tests.amounts import high_of, low_of, size_of
from tests.oracle.cases import FIXTURE, MORE_MODELS, load_oracle
from tests.oracle.recorded import recorded
from tests.oracle.server_logs import BUILDS, MIB, ROUNDED_MIB, SEGMENTS, host_of, told

_OTHERS = FIXTURE.parent / "llama.cpp"


@dataclass(slots=True)
class _Tally:
    cases: int = 0
    exact: int = 0
    errors: list[float] = field(default_factory=list)
    inside: int = 0

    def compute(self, got: float, due: float, ends: tuple[float, float]) -> None:
        """One compute buffer."""
        self.errors.append(abs(got / due - 1))
        self.inside += ends[0] <= due <= ends[1]

    def cells(self) -> str:
        """The table's columns."""
        ordered = sorted(self.errors)
        median, p95 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
        share = self.inside / len(ordered)
        return f"{self.cases} | {self.exact} | {median:.1%} | {p95:.1%} | {share:.0%}"


def _logged(build: str) -> _Tally:
    tally = _Tally()
    for row in told(build):
        host = host_of(row, build)
        amounts = [(size_of(host, segment) / MIB, row.said.get(kind, 0)) for kind, segment in SEGMENTS.items()]
        tally.cases += 1
        tally.exact += all(abs(got - due) <= 3 * ROUNDED_MIB for got, due in amounts)
        ends = low_of(host, Segment.COMPUTE) / MIB - ROUNDED_MIB, high_of(host, Segment.COMPUTE) / MIB + ROUNDED_MIB
        tally.compute(size_of(host, Segment.COMPUTE) / MIB, row.said["compute"], ends)
    return tally


def _answered(build: str) -> _Tally:
    """Cases that the build takes, on cards and the host."""
    tally = _Tally()
    for fixture in (FIXTURE, MORE_MODELS):
        for answer, expected in _plans(build, fixture):
            tally.cases += 1
            exact = True
            for name, due in expected["by_device"].items():
                device = answer.device(name)
                assert device is not None
                held = size_of(device, Segment.KV_CACHE) + size_of(device, Segment.RECURRENT)
                exact = exact and (size_of(device, Segment.WEIGHTS), held) == (due["weights"], due["kv"])
                if due["compute"]:
                    ends = low_of(device, Segment.COMPUTE), high_of(device, Segment.COMPUTE)
                    tally.compute(size_of(device, Segment.COMPUTE), due["compute"], ends)
            tally.exact += exact
    return tally


def _plans(build: str, fixture: Path) -> Iterator[tuple[MemoryPlan, dict[str, dict[str, dict[str, int]]]]]:
    rules, oracle = rules_for(build), load_oracle(fixture)
    models = {
        name: prepare(header, rules)
        for name, header in oracle.headers.items()
        if unknown_architecture(header.architecture, rules) is None
    }
    answers = recorded(f"llama.cpp/{build}/{fixture.name}")["cases"]
    for case, answer in zip(oracle.cases, answers, strict=True):
        expected = answer["expected"]
        if "error" in expected or case.model not in models:
            continue
        found = plan(models[case.model], case.settings, case.devices)
        if not isinstance(found, Refusal):
            yield found, expected


def main() -> None:
    """Print the table."""
    print("| build | asked how | cases | exact | compute median | p95 | in range |")
    print("|---|---|---:|---:|---:|---:|---:|")
    asked = [(build, "log of a server, CPU", _logged) for build in BUILDS]
    asked += [(path.name, "own accounting, cards and CPU", _answered) for path in _OTHERS.iterdir()]
    for build, how, tally in sorted(asked, key=lambda it: int(it[0][1:])):
        print(f"| {build} | {how} | {tally(build).cells()} |")
    ranges = ", ".join(each.first if each.first == each.last else f"{each.first} to {each.last}" for each in VERSIONS)
    print(f"\nRanges with the same rules: {ranges}.")


if __name__ == "__main__":
    main()
