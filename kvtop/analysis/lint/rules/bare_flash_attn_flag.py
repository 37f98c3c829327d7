"""`--flash-attn` without a value swallows the next option, and the server does not start.

Why: since it takes `on`, `off` or `auto`, the word after it is its value, whatever it looks like. Older guides show it
bare.

Source: common/arg.cpp, llama.cpp b11434; run there: `unknown value for --flash-attn: '-c'`, exit code 1.

Cost: the server exits with code 1.

Fix: `--flash-attn on`; the default `auto` already uses it where it can.

Fires on: `-fa -c 4096`. Quiet on: `-fa on -c 4096`.
"""

from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = False
FIRES = Example("llama-server -m MODEL -ctk q8_0 -ctv q8_0 --flash-attn --port 8080")
QUIET = Example("llama-server -m MODEL -ctk q8_0 -ctv q8_0 --flash-attn on --port 8080")
_SWALLOWED = "unknown value for --flash-attn: '-"
_LAST = ('"-fa": expected value', '"--flash-attn": expected value')


def is_bare(complaint: str) -> bool:
    """Whether the engine's complaint is this one."""
    return _SWALLOWED in complaint or any(words in complaint for words in _LAST)


def check(target: LintTarget) -> Outcome:
    """Reads the engine's own complaint."""
    for complaint in target.complaints:
        if is_bare(complaint):
            return Found(
                "error",
                f"--flash-attn takes a value and swallows the next word; the engine says: {complaint}",
                evidence=complaint,
                cost="the server does not start",
                fix="--flash-attn on (or remove it: auto is the default)",
            )
    return None
