"""The context is, or will be, smaller than was asked for or trained, because the engine fits it to the device.

Why: without `-c`, `--fit` (on by default) lowers the context until everything leaves 1 GiB free on each device, down to
4096 tokens, and says so only at log level 4. The endpoint then shows the smaller figure and the command line nothing.

Source: common/fit.cpp, llama.cpp b11434; run there (32768 -> 24320 in 1388 MiB).

Cost: tokens of context.

Fix: an explicit `-c` that fits, a quantized cache, or fewer slots.

Fires on: Llama 3.1 8B without `-c` on 12 GiB. Quiet on: the same on 48 GiB, and on any explicit `-c`.
"""

from dataclasses import replace

from kvtop.analysis.ruling import Example, Found, Lacks, Outcome
from kvtop.analysis.subject import Observed, Subject
from kvtop.domain.plan_answer import Fit, room_of
from kvtop.planning.llamacpp.largest_context import largest_context
from kvtop.planning.llamacpp.prepared import PreparedModel

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL", gpus=("12GiB",), model="llama-3.1-8b")
QUIET = Example("llama-server -m MODEL", gpus=("48GiB",), model="llama-3.1-8b")


def check(subject: Subject) -> Outcome:
    """Running: what the endpoint says against what was asked. Before: whether the trained context leaves its margin."""
    if subject.observed is not None and subject.observed.slot_context_tokens is not None:
        return _running(subject, subject.observed)
    settings = subject.llama
    if settings.ctx_tokens or subject.value("ctx-size") == "0" or not settings.fit or subject.backend == "cpu":
        return None
    if settings.kv_unified_per_slot_tokens:
        return None
    if not subject.devices:
        return Lacks("whether --fit will shrink the context depends on the device: say --gpu")
    plan, model = subject.plan, subject.model
    if plan is None or not isinstance(model, PreparedModel):
        return Lacks(f"the size of the trained context is unknown: {subject.plan_note}")
    margin = settings.fit_target_bytes[0]
    rooms = {
        it.name: None if (it.free_bytes or it.total_bytes) is None else (it.free_bytes or it.total_bytes or 0) - margin
        for it in subject.devices
    }
    short = [part for part in plan.devices if room_of(part, rooms.get(part.name)).fit is Fit.TOO_LARGE]
    if not short:
        return None
    most = largest_context(model, replace(settings, fit=False), subject.devices, rooms, subject.draft).tokens
    trained = model.hparams.n_ctx_train
    given = settings.gpu_layers is not None or settings.tensor_split or settings.tensor_overrides
    if most >= trained:
        return None
    floor = max(most, settings.fit_ctx_tokens)
    then = "" if most >= settings.fit_ctx_tokens else " and still not fit" if given else " and move layers to the host"
    return Found(
        "warning",
        f"the trained context of {trained} tokens does not fit, so --fit will shrink it to about {floor} tokens{then}, "
        "without a line in the log at its default level",
        evidence=f"no -c; {', '.join(part.name for part in short)} has not enough room with {margin} bytes left free",
        cost=f"about {trained - floor} tokens of context",
        fix=f"-c {floor} to have it in writing, or --cache-type-k q8_0 --cache-type-v q8_0 for more",
    )


def _running(subject: Subject, observed: Observed) -> Outcome:
    settings, hparams = subject.llama, subject.hparams
    has = observed.slot_context_tokens or 0
    if settings.ctx_tokens:
        slots = settings.parallel or 1
        asked = settings.ctx_tokens // (1 if settings.kv_unified or settings.parallel is None else slots)
        if has >= asked:
            return None
        capped = hparams is not None and has == hparams.n_ctx_train
        why = "the server caps a slot at the trained context" if capped else "the engine gave less"
        evidence = f"{subject.said('ctx-size', 'parallel')}; the endpoint says {has}"
        return Found("warning", f"{asked} tokens a slot were asked for and there are {has}: {why}", evidence, fix="")
    if hparams is None:
        return Lacks(f"the trained context is unknown: {subject.model_note}")
    divided = settings.parallel if settings.parallel and not settings.kv_unified else 1
    if has >= hparams.n_ctx_train // divided - 256:
        return None
    return Found(
        "warning",
        f"a slot has {has} tokens, and the model was trained for {hparams.n_ctx_train}: --fit shrank the context to "
        "the memory that was free",
        evidence=f"no -c; the endpoint says {has}",
        cost=f"{hparams.n_ctx_train - has} tokens of context",
        fix="-c with the length you need, --cache-type-k q8_0 --cache-type-v q8_0, or fewer slots",
    )
