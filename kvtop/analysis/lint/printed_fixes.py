"""Which fixes are printed: those that end the finding, and with which the server would start, by its own plan."""

from collections.abc import Iterable

from kvtop.analysis.lint.fixes.fix import Fix, any_of, changes_of, spelled
from kvtop.analysis.lint.result import SEVERITIES, FixMemory
from kvtop.analysis.lint.rule import Found, Rule, RuleModule
from kvtop.analysis.lint.rules import device_overcommitted, memory_utilization_risky, pool_below_one_request
from kvtop.analysis.lint.target import LintTarget

_ROOM: tuple[RuleModule, ...] = (device_overcommitted, memory_utilization_risky, pool_below_one_request)
"""What finds by the plan that a server would not start, or would fail when it is used."""


FREE_STEP_BYTES = 1 << 28
"""Free memory moves all the time: a fix is planned anew where it has moved by that much."""


def remembered_fix(memory: FixMemory, rule: Rule, target: LintTarget, found: Found) -> str:
    """The fix of a finding with the same ways out as before, of the same launch, model and room; else `printed_fix`."""
    room = tuple(None if it.free_bytes is None else it.free_bytes // FREE_STEP_BYTES for it in target.devices)
    key = (found.severity, found.fix, target.launch, id(target.model), id(target.draft), room)
    known = memory.get((target.name, rule.code))
    if known is None or known[0] != key:
        known = memory[target.name, rule.code] = (key, printed_fix(rule, target, found))
    return known[1]


def printed_fix(rule: Rule, target: LintTarget, found: Found) -> str:
    """The ways out that work, and those in words; where none of them works, the words for that."""
    if isinstance(found.fix, str):
        return found.fix
    working = set(working_fixes(rule, target, found))
    said = [spelled(target, way) if isinstance(way, Fix) else way for way in found.fix if _is_said(way, working)]
    return any_of(*said) or found.otherwise


def working_fixes(rule: Rule, target: LintTarget, found: Found) -> tuple[Fix, ...]:
    """The ways out by options that work; all of them where the launch is unknown, so that nothing can be tried."""
    before = target.with_changes({})
    ways = [way for way in found.fix if isinstance(way, Fix)] if not isinstance(found.fix, str) else []
    if before is None:
        return tuple(ways)
    wrong = _would_fail(before)
    return tuple(way for way in ways if _works(rule, target, found, way, wrong))


def _is_said(way: Fix | str, working: Iterable[Fix]) -> bool:
    return isinstance(way, str) or way in working


def _works(rule: Rule, target: LintTarget, found: Found, way: Fix, wrong: frozenset[str]) -> bool:
    after = target.with_changes(changes_of(way), way.cards)
    if after is None:
        return True
    said = rule.module.check(after)
    if isinstance(said, Found) and SEVERITIES.index(said.severity) >= SEVERITIES.index(found.severity):
        return False
    return _would_fail(after) <= wrong


def _would_fail(target: LintTarget) -> frozenset[str]:
    """Why it would not start: the engine's refusal in its words, and the rules that find no room."""
    said = {target.refusal} if target.refusal else set()
    for module in _ROOM:
        if module.ENGINES and target.engine not in module.ENGINES:
            continue
        outcome = module.check(target)
        if isinstance(outcome, Found) and outcome.severity == "error":
            said.add(module.__name__)
    return frozenset(said)
