"""`-np N` divides `-c` between slots: a request gets a part of the context that was asked for.

Why: with an explicit `-np` each slot has a stream of `-c / N` cells of its own. (Without `-np` four slots share one
pool, and each may use all of it.) People mean that often, and then it is an info; a slot of less than 4096 tokens is
a warning.

Source: `llama_context::llama_context`, src/llama-context.cpp, and tools/server/server.cpp, llama.cpp b11434.

Cost: requests longer than a slot are refused or cut.

Fix: `--kv-unified` to share one pool; or `-c` times the slots, which takes that many times the memory.

Fires on: `-c 32768 -np 4`. Quiet on: `-c 32768 -np 4 -kvu`, and where a slot still has the trained context.
"""

from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 32768 -np 4")
QUIET = Example("llama-server -m MODEL -c 32768 -np 4 --kv-unified")
_PAD = 256
FEW_TOKENS = 4096
"""The least that `--fit` itself gives a slot (common/common.h, `fit_params_min_ctx`)."""


def check(target: LintTarget) -> Outcome:
    """Needs only the options; the model shows whether a slot still has all it was trained for."""
    settings = target.llama
    slots = settings.parallel or 0
    if not target.caches_tokens or slots < 2 or settings.kv_unified or settings.ctx_tokens <= 0:
        return None
    per_slot = -(-(-(-settings.ctx_tokens // _PAD) * _PAD // slots) // _PAD) * _PAD
    hparams = target.hparams
    # More than it was trained for, a slot would not be given anyway.
    wanted = settings.ctx_tokens if hparams is None else min(settings.ctx_tokens, hparams.n_ctx_train)
    if per_slot >= wanted:
        return None
    return Found(
        "warning" if per_slot < FEW_TOKENS else "info",
        f"-np divides the context: each of {slots} slots has {per_slot} tokens, not {wanted}",
        evidence=target.said("ctx-size", "parallel"),
        cost=f"{wanted - per_slot} tokens of every request's context",
        fix=(
            options(" (one pool for all)", kv_unified="true"),
            options(f" for {wanted} each", ctx_size=str(wanted * slots)),
        ),
    )
