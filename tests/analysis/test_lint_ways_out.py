"""Metamorphic, over all rules: the command that a fix prints, and the server started by it, no longer fire that rule.

Each way out by options is typed as it is printed, on the corpus, on published commands and on the rules' own examples.
No error comes in its place, and by its own plan the server would start.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from kvtop.analysis.lint.fixes.fix import Fix, spelled
from kvtop.analysis.lint.linting import lint
from kvtop.analysis.lint.observed import Observed
from kvtop.analysis.lint.printed_fixes import working_fixes
from kvtop.analysis.lint.result import SEVERITIES
from kvtop.analysis.lint.rule import Example, Found, Rule
from kvtop.analysis.lint.rules import RULES
from kvtop.analysis.lint.surroundings import ModelFiles
from kvtop.analysis.lint.target import LintTarget, settled
from kvtop.domain.launch import Origin
from kvtop.domain.model_file import Checkpoint, GgufHeader
from kvtop.domain.server import ServerReading, ServerState
from kvtop.planning.commands.launch_command import customary_words
from tests.analysis import lint_review
from tests.models.published import models, published
from tests.models.rule_models import target_of

Models = Mapping[str, GgufHeader | Checkpoint]


@dataclass(frozen=True)
class Case:
    id: str
    example: Example
    models: Models | None = None


CASES = (
    *(Case(it.id, it.example) for it in lint_review.cases() if "sh -c" not in it.example.command),
    *(Case(f"published-{number}", it.whole, models()) for number, it in enumerate(published())),
    *(Case(f"example-{rule.slug}", rule.module.FIRES) for rule in RULES),
    *(
        Case(f"running-{rule.slug}", replace(rule.module.FIRES, gpus=("24GiB",), model="llama-3.1-8b"))
        for rule in RULES
        if rule.changes
    ),
)


def _typed(example: Example, target: LintTarget, way: Fix) -> Example:
    """The command line as a person changes it: words left out where they were given, others typed at its end."""
    command = example.command
    environ = dict(example.environ)
    for name, value in way.changes:
        option = target.option(name)
        if value is not None or option is None:
            continue
        if option.origin is Origin.ENVIRONMENT:
            environ.pop(option.detail, None)
            command = re.sub(rf"(?:-e )?{re.escape(option.detail)}=\S+ ", "", command)
            continue
        command = re.sub(
            rf"(?<= ){_flag(command, option.detail or name)}(?:[ =](?!-)\S+)?(?= |$)", "", command, count=1
        )
    added = customary_words(target.engine, [it for it in way.changes if it[1] is not None])
    gpus = example.gpus[:1] * way.cards if way.cards else example.gpus
    return replace(example, command=" ".join((command, *added)), environ=tuple(environ.items()), gpus=gpus)


def _flag(command: str, name: str) -> str:
    """The pattern of a flag as it stands there: with underscores, or cut where argparse understands it."""
    typed = [word.partition("=")[0] for word in command.split()]
    said = next((it for it in typed if it.startswith("--") and len(it) > 4 and name.startswith(it)), name)
    return re.escape(said).replace(r"\-", "[-_]")


def _found(rule: Rule, target: LintTarget) -> Found | None:
    asked = rule.module
    if asked.READS_LAUNCH and (target.launch is None or (asked.ENGINES == ("llama.cpp",) and target.settings is None)):
        return None
    outcome = asked.check(target) if not asked.ENGINES or target.engine in asked.ENGINES else None
    return outcome if isinstance(outcome, Found) else None


def _running(target: LintTarget) -> LintTarget:
    """The server that this command starts, seen by its process."""
    reading = ServerReading("127.0.0.1:8080", target.engine, ServerState.READY, launch=target.launch)
    files = ModelFiles(target.model_name, target.model or target.header, target.model_note, target.draft)
    return LintTarget.from_server(reading, files, target.where, target.plan, target.plan_note, Observed())


def _errors(target: LintTarget) -> set[str]:
    return {it.slug for it in lint(target).findings if it.severity == "error"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.id))
def test_what_a_fix_prints_ends_the_finding(case: Case) -> None:
    target = target_of(case.example, case.models)
    printed = {it.slug: it.fix for it in lint(target).findings}
    before = _errors(settled(replace(target, observed=None)))
    for rule in RULES:
        found = _found(rule, target)
        if found is None or target.complaints:  # what is refused as it stands is to be mended first
            continue
        for way in working_fixes(rule, target, found):
            assert " ".join(spelled(target, way).split()) in printed[rule.slug]
            after = target_of(replace(_typed(case.example, target, way), observed=None), case.models)
            for changed in (after, _running(after)):
                said = _found(rule, changed)
                milder = said is None or SEVERITIES.index(said.severity) < SEVERITIES.index(found.severity)
                assert milder, (rule.slug, spelled(target, way), said)
            assert not after.complaints
            assert _errors(after) <= before, (rule.slug, spelled(target, way))


def test_most_findings_have_a_way_out_by_options() -> None:
    """And one that prints nothing at all helps nobody."""
    ways = findings = 0
    for case in CASES:
        target = target_of(case.example, case.models)
        for rule in RULES:
            found = _found(rule, target)
            if found is not None and not isinstance(found.fix, str):
                findings += 1
                ways += bool(working_fixes(rule, target, found))
        assert all(it.fix for it in lint(target).findings), case.id
    assert ways > findings * 0.8


def test_advice_that_its_own_plan_knows_to_fail_is_not_printed() -> None:
    """A card that another server holds: what is free is smaller than the weights, whatever the share is called."""
    command = "vllm serve MODEL --max-model-len 8192 --gpu-memory-utilization 0.9"
    target = target_of(Example(command, ("24GiB",), "llama-3.1-8b"))
    devices = tuple(replace(it, free_bytes=4 << 30) for it in target.devices)
    held = settled(replace(target, where=replace(target.where, devices=devices)))
    finding = {it.slug: it for it in lint(held).findings}["memory-utilization-risky"]
    assert finding.severity == "error"
    assert "--gpu-memory-utilization" not in finding.fix
    assert "stop what holds" in finding.fix


def test_a_share_that_is_free_and_serves_is_printed() -> None:
    command = "vllm serve MODEL --max-model-len 8192 --gpu-memory-utilization 0.9"
    target = target_of(Example(command, ("24GiB",), "llama-3.1-8b"))
    devices = tuple(replace(it, free_bytes=20 << 30) for it in target.devices)
    held = settled(replace(target, where=replace(target.where, devices=devices)))
    assert (
        "--gpu-memory-utilization 0.83" in {it.slug: it.fix for it in lint(held).findings}["memory-utilization-risky"]
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.id))
def test_a_server_and_its_command_are_one_target(case: Case) -> None:
    """What a rule looks at does not depend on where it was read."""
    target = target_of(replace(case.example, observed=None), case.models)
    if target.refusal or target.complaints or target.plan is None:
        return
    running = _running(target)
    for name in ("engine", "launch", "where", "settings", "model", "header", "draft", "plan"):
        assert getattr(running, name) == getattr(target, name), name
