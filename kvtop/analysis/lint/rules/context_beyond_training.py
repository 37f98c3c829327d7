"""A context longer than the model was trained for: the server caps each slot and the memory is wasted.

Why: cells are allocated for `-c`, then every slot is capped at the trained length of the file, whatever YaRN options
say. Only several slots over one unified pool can use more.

Source: tools/server/server-context.cpp ("the slot context exceeds the training context of the model - capping") and
src/llama-context.cpp, llama.cpp b11434.

Cost: computed: the plan at `-c`, less the plan at what can be used.

Fix: `-c` at the trained length; to extend a model that can be, `--override-kv ARCH.context_length=int:N` with YaRN.

Fires on: `-c 262144 -np 1` on a model of 131072. Quiet on: `-c 131072` there.
"""

from kvtop.analysis.lint.amounts import all_bytes, exact
from kvtop.analysis.lint.fixes.fix import options
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 262144 -np 1", gpus=("80GiB",), model="llama-3.1-8b")
QUIET = Example("llama-server -m MODEL -c 131072 -np 1", gpus=("80GiB",), model="llama-3.1-8b")


def check(target: LintTarget) -> Outcome:
    """Needs the model; only an explicit context can be too long."""
    settings = target.llama
    if settings.ctx_tokens <= 0:
        return None
    plan, hparams = target.plan, target.hparams
    if hparams is None or plan is None or plan.context is None:
        return Lacks(f"the trained context is unknown: {target.model_note if hparams is None else target.plan_note}")
    trained = hparams.n_ctx_train
    context = plan.context
    if trained <= 0 or context.n_ctx_seq <= trained:
        return None
    usable = trained * context.n_seq_max
    evidence = f"{target.said('ctx-size', 'parallel')}; trained for {trained}"
    if context.n_ctx <= usable:
        # Four slots by default: several requests were not asked for, only a long one.
        return Found(
            "warning" if settings.parallel is None else "info",
            f"the pool of {context.n_ctx} tokens is longer than the trained {trained}: a slot is capped there, so only "
            f"several of the {context.n_seq_max} slots together can fill it",
            evidence,
            "",
            (options(", unless several long requests run at once", ctx_size=str(trained)),),
        )
    shorter = target.plan_with(ctx_size=str(usable))
    cost = "" if shorter is None else f"{exact(all_bytes(plan) - all_bytes(shorter))} that no request can use"
    return Found(
        "warning",
        f"{context.n_ctx_seq} tokens a slot, but the model was trained for {trained}: the server caps each slot there "
        "and the memory is taken all the same",
        evidence,
        cost,
        (
            options(ctx_size=str(usable)),
            options(
                " to extend the model",
                override_kv=f"{hparams.arch}.context_length=int:{context.n_ctx_seq}",
                rope_scaling="yarn",
            ),
        ),
    )
