"""`-c 0` and `--fit-ctx` on one command line: which of them counts depends on their order.

Why: `-c 0` asks for the whole trained context by name, for which it sets the least context of `--fit` to the largest
number there is. A `--fit-ctx N` behind it overwrites that, and the context may be cut to N; in front of it, N is lost
and layers move to the host instead.

Source: common/arg.cpp, llama.cpp b11434; run: `-c 0 -fitc 8192` gave 47104 tokens, the other order 131072 with 15 of
33 layers.

Cost: tokens of context, or layers on the device.

Fix: leave out the one that does not count.

Fires on: `-fitc 8192 -c 0` with Llama 3.1 8B on 12 GiB. Quiet on: `-fitc 8192` alone.
"""

from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.planning.llamacpp.options.settings import PINNED_CONTEXT

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -fitc 8192 -c 0", gpus=("12GiB",), model="llama-3.1-8b")
QUIET = Example("llama-server -m MODEL -fitc 8192", gpus=("12GiB",), model="llama-3.1-8b")


def check(target: LintTarget) -> Outcome:
    """Both options, and a fit that reads them."""
    settings = target.llama
    if target.value("ctx-size") != "0" or target.value("fit-ctx") is None or not settings.fit:
        return None
    is_pinned = settings.fit_ctx_tokens == PINNED_CONTEXT
    lost, kept = ("--fit-ctx", "-c 0") if is_pinned else ("-c 0", f"--fit-ctx {settings.fit_ctx_tokens}")
    consequence = "the context is never cut" if is_pinned else "the context may be cut to it"
    return Found(
        "warning",
        f"of -c 0 and --fit-ctx the later one counts: here {kept}, so that {lost} does nothing and {consequence}",
        evidence=target.said("fit-ctx", "ctx-size"),
        cost="tokens of context, or layers on the device",
        fix=(options(fit_ctx=None) if is_pinned else options(ctx_size=None),),
    )
