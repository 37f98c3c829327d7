"""What-ifs of the watched servers: the options changed so far, and the plans they lead to."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kvtop.analysis.planned.live_plan import PlanMemory
from kvtop.analysis.planned.live_what_if import WhatIfBaseline, answer, what_if_baseline
from kvtop.analysis.recommending import RecommendRequest, recommend
from kvtop.app.plan.own_evidence import read_own_evidence
from kvtop.domain.answers.evidence import Measurement
from kvtop.domain.answers.frontier import Frontier
from kvtop.domain.answers.recommendation import Recommendations, Requirements
from kvtop.domain.answers.what_if import WhatIf, WhatIfAnswer, replace_length
from kvtop.domain.frame import Frame
from kvtop.domain.plan import MemoryPlan
from kvtop.domain.sample import Sample
from kvtop.planning.adjustments import Knob, settled, turn
from kvtop.planning.frontier import frontier
from kvtop.planning.registry import engine_rules

_UNTRAINED_TOKENS = 131072
_Grounds = tuple[WhatIfBaseline, tuple[Measurement, ...]]
"""What an answer stands on besides the options that were turned."""


@dataclass(slots=True)
class WhatIfSession:
    """The what-ifs on the newest Sample. `environ` says where own measurements lie.

    An answer is kept while nothing changes that it stands on: a key plans what it turned, a tick what moved.
    """

    environ: Mapping[str, str]
    memory: PlanMemory = field(default_factory=PlanMemory)
    _own: tuple[Measurement, ...] = ()
    _newest: tuple[Sample, Frame] | None = None
    _baselines: dict[str, WhatIfBaseline | str] = field(default_factory=dict)
    _turned: dict[str, WhatIf] = field(default_factory=dict)
    _answers: dict[str, tuple[_Grounds, WhatIf, WhatIfAnswer]] = field(default_factory=dict)
    _frontiers: dict[str, tuple[WhatIfBaseline, Frontier]] = field(default_factory=dict)
    _recommended: dict[str, tuple[_Grounds, Recommendations]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.read_own()

    def read_own(self) -> None:
        """Read the own measurements: from a thread where keys must not wait for a disk."""
        self._own = read_own_evidence(self.environ)[0]

    def note(self, sample: Sample, frame: Frame) -> None:
        """Take the newest; what was turned stays, servers that are gone leave nothing behind."""
        self._newest = sample, frame
        self._baselines.clear()
        alive = {view.reading.id for view in frame.servers}
        self._turned = {name: turned for name, turned in self._turned.items() if name in alive}
        self._answers = {name: kept for name, kept in self._answers.items() if name in alive}
        self._frontiers = {name: kept for name, kept in self._frontiers.items() if name in alive}
        self._recommended = {name: kept for name, kept in self._recommended.items() if name in alive}

    def ask(self, server_id: str) -> WhatIfAnswer | str:
        """The what-if of this server as it stands."""
        found = self._baseline(server_id)
        if isinstance(found, str):
            return found
        what_if, grounds = self._what_if(found), (found, self._own)
        known = self._answers.get(server_id)
        if known is None or known[:2] != (grounds, what_if):
            known = grounds, what_if, answer(found, what_if, self._own)
            self._answers[server_id] = known
        return known[2]

    def turn(self, server_id: str, knob: str, step: int) -> bool:
        """Turn a knob."""
        found, asked = self._baseline(server_id), self.ask(server_id)
        if isinstance(found, str) or isinstance(asked, str):
            return False
        plan = asked.comparison.then
        moved = turn(self._what_if(found), plan if isinstance(plan, MemoryPlan) else found.now, Knob(knob), step)
        if moved is None:
            return False
        self._turned[server_id] = settled(moved, found.now)
        return True

    def reset(self, server_id: str) -> None:
        """Back to how the server runs."""
        self._turned.pop(server_id, None)

    def frontier(self, server_id: str) -> Frontier | str:
        """The grid around how the server runs; remembered while nothing that it stands on changes."""
        found = self._baseline(server_id)
        if isinstance(found, str):
            return found
        known = self._frontiers.get(server_id)
        if known is None or not _is_same_context(known[0], found):
            grid = frontier(found.plan_context, found.base, found.now, found.trained_tokens or _UNTRAINED_TOKENS)
            known = found, grid
            self._frontiers[server_id] = known
        return known[1]

    def adopt(self, server_id: str, row: int, column: int) -> bool:
        """Make a cell of the grid the what-if."""
        found, grid = self._baseline(server_id), self.frontier(server_id)
        if isinstance(found, str) or isinstance(grid, str):
            return False
        cell = grid.rows[row].cells[column]
        changed = found.base.with_changes(**{name.replace("-", "_"): value for name, value in cell.changes})
        if found.base.at_tokens is not None:
            changed = replace_length(changed, cell.amount)
        self._turned[server_id] = changed
        return True

    def recommend(self, server_id: str) -> Recommendations | str:
        """Configurations worth trying, as the server is used now."""
        found = self._baseline(server_id)
        if isinstance(found, str):
            return found
        grounds = found, self._own
        known = self._recommended.get(server_id)
        if known is None or known[0] != grounds:
            known = self._recommended[server_id] = grounds, recommend(self._request(found))
        return known[1]

    def _request(self, found: WhatIfBaseline) -> RecommendRequest:
        rules = engine_rules(found.base.base.engine)
        started = found.base.base if rules is None else rules.as_started(found.base.base)
        return RecommendRequest(
            found.plan_context,
            replace(found.base, base=started),
            found.now,
            Requirements(),
            found.words,
            found.model,
            found.now.architecture,
            found.trained_tokens,
            found.version,
            own=self._own,
            is_fitted=started != found.base.base,
        )

    def _baseline(self, server_id: str) -> WhatIfBaseline | str:
        if self._newest is None:
            return "nothing has been measured yet"
        if server_id not in self._baselines:
            sample, frame = self._newest
            view = frame.server(server_id)
            self._baselines[server_id] = (
                f"{server_id} is gone" if view is None else what_if_baseline(sample, view, self.memory)
            )
        return self._baselines[server_id]

    def _what_if(self, found: WhatIfBaseline) -> WhatIf:
        """What was turned, on the options that the server has now."""
        turned = self._turned.get(found.server_id)
        if turned is None:
            return found.base
        changed = found.base.with_changes(**{name.replace("-", "_"): value for name, value in turned.changes})
        return changed if turned.at_tokens is None else replace_length(changed, turned.at_tokens)


def _is_same_context(one: WhatIfBaseline, other: WhatIfBaseline) -> bool:
    return (
        one.base == other.base
        and one.plan_context.rooms == other.plan_context.rooms
        and one.plan_context.devices == other.plan_context.devices
    )
