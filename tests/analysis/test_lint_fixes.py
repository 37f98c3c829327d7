"""Every fix of the corpus that is an option to type is typed: the finding is gone, and no worse one has come."""

import re
from dataclasses import replace

import pytest

from kvtop.domain.frame import Finding
from tests.analysis import lint_review

_FIRST = re.compile(
    r"(?P<words>--?[a-z][\w-]*(?: (?!-)[\w./:+-]+)?(?: --?[a-z][\w-]*(?: (?!-)[\w./:+-]+)?)*)(?=$|[,;:(]| )"
)
_LEFT_OUT = re.compile(r"remove (--?[\w-]+)")
_WORDS_ARE_WRONG = {"removed-option", "start-refused", "bare-flash-attn-flag", "api-key-on-command-line"}
"""What is wrong in itself must be replaced; nothing that is added helps."""
_STAYS = {("device-overcommitted", "info"), ("speculative-with-quantized-cache", "info")}
"""It starts then, and says what `--fit` leaves on the host; the target's cache stays quantized."""
_FOLLOWS = {
    ("cache-on-host", "mixed-cache-types-slow"),  # the CPU took types that the device does not
    ("cache-on-host", "iq4-nl-on-cuda"),
    ("flash-attention-off", "mixed-cache-types-slow"),  # then keys alone are quantized, which has a rule of its own
    ("pool-below-one-request", "fp16-cache-on-batched-serving"),  # it starts, and one request fills the pool
    ("device-overcommitted", "start-refused"),  # more ranks than the cards that were named
}


def _fixed(command: str, finding: Finding) -> str | None:
    """The command with the first alternative of the fix; None where it is no option."""
    fix = re.split(r", |; | \(| where | once |: ", finding.fix)[0]
    left = _LEFT_OUT.match(finding.fix)
    if left is not None:
        name = re.escape(left[1]).replace(r"\-", "[-_]")
        shorter = rf"(?:{name}|--kv-b)" if left[1] == "--kv-bits" else name
        also = re.search(r"with (-c \d+)", finding.fix)
        return re.sub(rf"(?<= ){shorter}(?:[ =](?!-)\S+)?(?= |$)", "", command, count=1) + (
            f" {also[1]}" if also else ""
        )
    if finding.fix.startswith("unset "):
        return re.sub(rf"{re.escape(fix.removeprefix('unset '))}=\S+ ", "", command)
    if fix.startswith("-p "):
        published = finding.evidence.removeprefix("-p ")
        return command.replace(f"-p {published}", fix).replace(f"-p{published}", fix)
    if not fix.startswith("-") or _FIRST.fullmatch(fix) is None:
        return None
    if finding.slug == "unsupported-cache-type":
        for name in ("k", "v"):
            if f"--cache-type-{name}" in fix:
                command = re.sub(rf"(?:-ct{name}|--cache-type-{name}) \S+", "", command)
    return f"{command} {fix}"


CASES = [case for case in lint_review.cases() if "sh -c" not in case.example.command]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.id))
def test_a_fix_takes_its_finding_away_and_brings_no_worse_one(case: lint_review.Case) -> None:
    example = case.example
    before = {it.slug: it for it in lint_review.linted(case).findings}
    for slug, finding in before.items():
        fixed = None if slug in _WORDS_ARE_WRONG else _fixed(example.command, finding)
        if fixed is None:
            continue
        assert fixed != example.command, finding.fix
        changed = replace(case, example=replace(example, command=fixed))
        after = {it.slug: it for it in lint_review.linted(changed).findings}
        assert slug not in after or (slug, after[slug].severity) in _STAYS, (finding.fix, after[slug].message)
        worse = [it.slug for it in after.values() if it.slug not in before and it.severity != "info"]
        assert all((slug, other) in _FOLLOWS for other in worse), (finding.fix, worse)


def test_most_fixes_are_options() -> None:
    fixes = [
        (case, it) for case in CASES for it in lint_review.linted(case).findings if it.slug not in _WORDS_ARE_WRONG
    ]
    typed = [it for case, it in fixes if _fixed(case.example.command, it) is not None]
    assert len(typed) > len(fixes) * 0.8
