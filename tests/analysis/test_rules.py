"""Every rule on both of its scenarios; and that their list, codes and pages keep their promises."""

import ast
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kvtop.analysis.lint.linting import find_rule, lint, unknown_rules
from kvtop.analysis.lint.observed import Observed
from kvtop.analysis.lint.result import SEVERITIES, Suppression
from kvtop.analysis.lint.rule import Example, Found, Rule
from kvtop.analysis.lint.rules import RULES
from kvtop.analysis.lint.surroundings import Surroundings
from kvtop.analysis.lint.target import LintTarget
from kvtop.planning.registry import PLANNED
from kvtop.verbs.command_line.rule_pages import page, rules_page

ROOT = Path(__file__).parents[2]
TargetOf = Callable[[Example], LintTarget]
RULE_FILES = ROOT / "kvtop" / "analysis" / "lint" / "rules"


def _name(rule: Rule) -> str:
    return rule.slug


@pytest.mark.parametrize("rule", RULES, ids=_name)
def test_a_rule_fires_on_its_first_scenario(rule: Rule, target_of: TargetOf) -> None:
    outcome = rule.module.check(target_of(rule.module.FIRES))
    assert isinstance(outcome, Found), outcome
    assert outcome.severity in SEVERITIES
    assert outcome.message
    assert outcome.evidence
    assert outcome.fix


@pytest.mark.parametrize("rule", RULES, ids=_name)
def test_a_rule_is_quiet_on_its_second_scenario(rule: Rule, target_of: TargetOf) -> None:
    assert rule.module.check(target_of(rule.module.QUIET)) is None


@pytest.mark.parametrize("rule", RULES, ids=_name)
def test_a_page_says_what_why_source_cost_and_fix(rule: Rule) -> None:
    for word in ("Why: ", "Source: ", "Cost: ", "Fix: ", "Fires on: "):
        assert word in rule.page, f"{rule.slug}: the docstring has no {word!r}"
    assert rule.slug in page(rule)
    assert len(rule.title) <= 110


def test_codes_and_names_are_unique_and_every_file_is_listed() -> None:
    codes = [rule.code for rule in RULES]
    assert codes == sorted(set(codes))
    assert all(re.fullmatch(r"KVT\d{3}", code) for code in codes)
    files = {path.stem.replace("_", "-") for path in RULE_FILES.glob("*.py") if path.stem != "__init__"}
    assert files == {rule.slug for rule in RULES}


def test_the_page_of_all_rules_is_current() -> None:
    assert (ROOT / "docs" / "rules.md").read_text(encoding="utf-8") == rules_page()


def test_a_rule_is_found_by_code_and_by_name() -> None:
    assert find_rule("kvt001") is find_rule("quantized-v-without-flash-attention")
    with pytest.raises(KeyError, match=r"no rule .KVT999."):
        find_rule("KVT999")


def test_a_suppressed_finding_keeps_its_reason(target_of: TargetOf) -> None:
    subject = target_of(Example("llama-server -m MODEL --no-slots"))
    noisy = lint(subject)
    assert "metrics-disabled" in {it.slug for it in noisy.findings}
    quiet = lint(subject, (Suppression("KVT048", "scraped through the proxy"),))
    assert "metrics-disabled" not in {it.slug for it in quiet.findings}
    assert [reason for _, reason in quiet.suppressed] == ["scraped through the proxy"]
    elsewhere = lint(subject, (Suppression("KVT048", "not this one", "127.0.0.1:1"),))
    assert elsewhere.findings == noisy.findings
    assert unknown_rules((Suppression("KVT999", "?"), Suppression("KVT001", "?"))) == ("KVT999",)


def test_a_rule_without_its_input_says_so_and_does_not_pass(target_of: TargetOf) -> None:
    result = lint(target_of(Example("llama-server -m MODEL -ctk q8_0 -ctv q8_0")))
    lacking = {it.slug: it.reason for it in result.not_evaluated}
    assert "no such file" in lacking["cache-type-head-size"]
    assert not lacking.keys() & {it.slug for it in result.findings}
    assert result.asked + len(lacking) == sum(
        not rule.module.ENGINES or "llama.cpp" in rule.module.ENGINES for rule in RULES
    )


def test_without_launch_options_the_rules_that_read_them_are_not_evaluated(target_of: TargetOf) -> None:
    subject = replace(target_of(Example("llama-server -m MODEL")), launch=None, settings=None)
    for rule in RULES:
        if rule.module.READS_LAUNCH and "llama.cpp" in rule.module.ENGINES:
            assert rule.slug in {it.slug for it in lint(subject).not_evaluated}


def test_a_small_file_of_few_bits_is_no_wide_one(target_of: TargetOf) -> None:
    """Gemma 3 270M in Q4_K_M has 7.4 bits a weight, for most of it is embeddings."""
    command = "llama-server -m MODEL -c 8192 -ctk q8_0 -ctv q8_0"
    subject = target_of(Example(command, gpus=("8GiB",), model="gemma-3-270m"))
    assert "weights-are-the-bigger-lever" not in {it.slug for it in lint(subject).findings}


@pytest.mark.parametrize("path", sorted(RULE_FILES.parent.rglob("*.py")), ids=lambda path: str(path.stem))
def test_an_engine_is_named_once_where_a_rule_is_its_own_and_else_nowhere(path: Path) -> None:
    """A rule of one engine states it as data; one of several asks for what is true of the engine (`LintTraits`)."""
    named = [
        node.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in {*PLANNED, "ollama", "sglang"}
    ]
    assert len(named) <= (1 if path.parent == RULE_FILES else 0), named


def test_a_server_of_any_engine_that_answers_without_a_key_is_exposed() -> None:
    """Also of one that kvtop has no rules for, whose options it does not know."""
    seen = Observed(listeners=("0.0.0.0",), wants_key=False)
    target = LintTarget("127.0.0.1:11434", "ollama", None, Surroundings(), observed=seen)
    finding = {it.slug: it for it in lint(target).findings}["exposed-without-key"]
    assert finding.severity == "warning"
    assert "127.0.0.1" in finding.fix
    behind = replace(target, observed=replace(seen, listeners=("127.0.0.1",)))
    assert "exposed-without-key" not in {it.slug for it in lint(behind).findings}
    unseen = replace(target, observed=Observed())
    assert "exposed-without-key" in {it.slug for it in lint(unseen).not_evaluated}
