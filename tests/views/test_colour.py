"""Colours over plain texts: nothing but escape codes is added, and only where somebody sees them."""

import re

import pytest

from kvtop.views.text.colour import coloured, wants_colour

CODES = re.compile(r"\x1b\[[0-9;]*m")
TEXTS = {
    "plan": "Tiny  (llama)\n\ngpu0\n├─ weights 1 MiB  computed\n└─ total       2 MiB  does not fit, 1 MiB too much\n"
    "no context fits\nnote: one\n      more\n1 warning: kvtop lint -- x\n",
    "lint": "h:1\n  error: a-rule (KVT001)\n    words\n    fix: that\n1 error, 0 warnings, 0 info; 0 not evaluated\n",
    "recommend": "m  (llama.cpp)\n\n1. f16/f16, sequences of 2k: fits\n   why      reasons\n   command  llama-server\n",
    "doctor": "kvtop 1 on h\n\ndrivers\n  FAILED gpu0: gone\n         do: look\n\n1 of 5 probes failed\n",
    "diff": "A  a  h\nB  b  h\n\ns: memory\n    weights  1 → 2\n\nno difference\n",
    "ledger": "h  now\n\ngpu0   x: 1 of 2 used\n\ns:1  llama.cpp\n  ├─ weights  1 GiB  computed\n  error KVT001 bad\n",
}
LOUD = {"plan": "does not fit, 1 MiB too much", "lint": "  error: a-rule (KVT001)", "doctor": "  FAILED"}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_is_the_same_with_colours_and_without(kind: str) -> None:
    shown = coloured(TEXTS[kind], kind)
    assert CODES.sub("", shown) == TEXTS[kind]
    assert shown != TEXTS[kind]
    for line in shown.splitlines():
        assert line.count("\x1b[0m") * 2 == len(CODES.findall(line)), "a style ends with its line"


@pytest.mark.parametrize("kind", LOUD)
def test_bad_news_is_red(kind: str) -> None:
    assert f"\x1b[1;31m{LOUD[kind]}\x1b[0m" in coloured(TEXTS[kind], kind)


@pytest.mark.parametrize(
    ("when", "environ", "is_terminal", "expected"),
    [
        ("auto", {"TERM": "xterm"}, True, True),
        ("auto", {"TERM": "xterm"}, False, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {}, True, False),
        ("auto", {"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ("auto", {"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"FORCE_COLOR": "0", "TERM": "xterm"}, False, False),
        ("auto", {"CLICOLOR_FORCE": "1"}, False, True),
        ("auto", {"CLICOLOR": "0", "TERM": "xterm"}, True, False),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1", "TERM": "xterm"}, True, False),
    ],
)
def test_who_decides(when: str, environ: dict[str, str], is_terminal: bool, expected: bool) -> None:
    assert wants_colour(when, environ, is_terminal=is_terminal) is expected
