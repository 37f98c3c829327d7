"""An idle model holds device memory.

Why: llama-server and vLLM keep weights and cache until they end, unless they may sleep: llama-server with
`--sleep-idle-seconds`, vLLM with `--enable-sleep-mode`. Ollama unloads after `keep_alive`.

Source: tools/server, llama.cpp b11434 (run there); vLLM 0.32.0.

Cost: measured: what the drivers count for its processes.

Fix: `--sleep-idle-seconds 900` (llama-server), or stop it.

Fires on: no token for two hours. Quiet on: a token a minute ago.
"""

from kvtop.analysis.lint.amounts import exact
from kvtop.analysis.lint.observed import Observed
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.text import duration_text

ENGINES: tuple[str, ...] = ()
READS_LAUNCH = False
FIRES = Example("llama-server -m MODEL", observed=Observed(idle_seconds=7200.0, memory_held_bytes=8 << 30))
QUIET = Example("llama-server -m MODEL", observed=Observed(idle_seconds=60.0, memory_held_bytes=8 << 30))
LONG_SECONDS = 1800.0
MUCH_BYTES = 512 << 20


def check(target: LintTarget) -> Outcome:
    """Needs a running server that has been watched, or that says it never served a token."""
    seen = target.observed
    if seen is None:
        return Lacks("needs a running server")
    if seen.idle_seconds is None:
        return Lacks("for how long it has been idle is unknown: it has not been watched for long")
    held = seen.memory_held_bytes
    if seen.idle_seconds < LONG_SECONDS or (held is not None and held < MUCH_BYTES):
        return None
    return Found(
        "info",
        f"idle for {duration_text(seen.idle_seconds)}, and it holds its memory",
        evidence=f"no token read or written for {duration_text(seen.idle_seconds)}",
        cost="" if held is None else exact(held),
        fix=target.traits.idle_words,
    )
