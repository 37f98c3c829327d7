"""An option that newer builds of the engine no longer take.

Why: `--no-mmap` and `--mlock` became `--load-mode`, the options of drafts got names of their own. A build without an
option ends with `invalid argument` before it loads anything. The command is planned as it was meant.

Source: common/arg.cpp of llama.cpp b5300 to b11549.

Cost: after an update the server does not start.

Fix: the words that say the same now.

Fires on: `--no-mmap`. Quiet on: `--load-mode none`.
"""

from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.planning.llamacpp.cache_speed import build_number
from kvtop.planning.llamacpp.options.removed_options import removed_words

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 8192 --no-mmap")
QUIET = Example("llama-server -m MODEL -c 8192 --load-mode none")


def check(target: LintTarget) -> Outcome:
    """An error where the build is known, and known to be without it."""
    removed = () if target.launch is None else target.launch.removed
    if not removed:
        return None
    version = target.version or (None if target.launch is None else target.launch.engine_version)
    is_known = build_number(version) is not None
    names = ", ".join(it.typed for it in removed)
    return Found(
        "error" if is_known else "warning",
        f"{names}: {removed_words(removed[0])}"
        + (f", and {version} refuses to start with it" if is_known else "; a newer build refuses to start with it"),
        evidence=names,
        cost="the server does not start",
        fix=" ".join(dict.fromkeys(" ".join(it.now) for it in removed if it.now)) or f"remove {names}",
    )
