"""`-ngl 0` on several cards that are short of memory ends llama-server by a division by zero.

Why: to be careful with several cards, `--fit` works out what a layer takes and divides the weights by the smaller of
`-ngl` and the number of layers. With `-ngl 0` that is 0, and the process ends by SIGFPE before it loads anything. Even
without layers, a card holds compute buffers, so that a card which another program fills is short.

Source: common/fit.cpp, llama.cpp b11434; run with 1400 and 1500 MiB free: signal 8.

Cost: the server does not start.

Fix: `-dev none` for the host alone, `-fit off`, or an explicit `-c`.

Fires on: `-ngl 0` with Llama 3.3 70B on two cards with 1 GiB free. Quiet on: the same with `-dev none`.
"""

from kvtop.analysis.lint.after_fit import after_fit
from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.plan import Refusal
from kvtop.planning.llamacpp.fit.outcome import DIVIDED_BY_ZERO

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -ngl 0", gpus=("1GiB", "1GiB"), model="llama-3.3-70b")
QUIET = Example("llama-server -m MODEL -ngl 0 -dev none", gpus=("1GiB", "1GiB"), model="llama-3.3-70b")


def check(target: LintTarget) -> Outcome:
    """Where the replay of the fit divides by zero."""
    if target.observed is not None or target.refusal:
        return None
    found = after_fit(target)
    if not isinstance(found, Refusal) or not found.message.startswith(DIVIDED_BY_ZERO):
        return None
    rooms = ", ".join(f"{device.free_bytes} bytes free on {device.name}" for device in target.devices)
    return Found(
        "error",
        f"llama-server {found.message}",
        evidence=f"{target.said('gpu-layers') or 'no -ngl'}; {rooms}",
        cost="the server does not start",
        fix=(options(device="none"), options(fit="off")),
    )
