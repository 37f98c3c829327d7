"""The context is, or will be, smaller than was asked for or trained, because the engine fits it to the device.

Why: without `-c`, `--fit` (on by default) lowers the context until everything leaves 1 GiB free on each device, down to
4096 tokens, and says so only at log level 4. With `-np N` it starts from the trained context for each slot; without a
device it fits the host's memory. The endpoint then shows the smaller figure and the command line nothing.

A context that still is long enough for people is an info; a slot with no more than the floor of 4096 tokens, or layers
that move to the host, are a warning.

A number with a unit is cut as well: of `-c 8k` only the 8 is read.

Source: common/fit.cpp and common/arg.cpp (std::stoi), llama.cpp b11434; run there (32768 -> 24320 in 1388 MiB).

Cost: tokens of context.

Fix: an explicit `-c` that fits, a quantized cache, or fewer slots.

Fires on: Llama 3.1 8B without `-c` on 12 GiB. Quiet on: the same on 48 GiB, and on any explicit `-c`.
"""

from kvtop.analysis.lint.after_fit import after_fit
from kvtop.analysis.lint.fixes.fix import options, smaller_cache
from kvtop.analysis.lint.observed import Observed
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.answers.plan_answer import device_fit
from kvtop.domain.answers.room import Fit, Room
from kvtop.domain.plan import MemoryPlan, Refusal
from kvtop.planning.llamacpp.options.typed_context import meant_context_tokens

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL", gpus=("12GiB",), model="llama-3.1-8b")
QUIET = Example("llama-server -m MODEL", gpus=("48GiB",), model="llama-3.1-8b")
FEW_TOKENS = 4096
"""A slot with no more is short for most uses; it is also the floor of `--fit`."""


def check(target: LintTarget) -> Outcome:
    """Running: what the endpoint says against what was asked. Before: whether the trained context leaves its margin."""
    if target.observed is not None and target.observed.slot_context_tokens is not None:
        return _running(target, target.observed)
    settings = target.llama
    meant = meant_context_tokens(target.typed_context)
    if meant is not None and settings.ctx_tokens < meant:
        return Found(
            "warning",
            f"llama-server reads the digits of {target.typed_context!r} and nothing after them: {settings.ctx_tokens} "
            f"tokens, rounded up to 256, not {meant}",
            evidence=f"{target.typed_context!r} as the context",
            cost=f"{meant - settings.ctx_tokens} tokens of context",
            fix=(options(ctx_size=str(meant)),),
            otherwise=f"-c {meant}, once there is room for it",
        )
    if settings.ctx_tokens or target.value("ctx-size") == "0" or not settings.fit or settings.split_mode == "tensor":
        return None
    if settings.kv_unified_per_slot_tokens or not target.caches_tokens:
        return None
    if not target.devices and not (target.are_devices_known and target.host_total_bytes is not None):
        what = "the host's memory is unknown" if target.are_devices_known else "say --gpu"
        return Lacks(f"whether --fit will shrink the context depends on the device: {what}")
    found = after_fit(target)
    if isinstance(found, Refusal):
        return None
    if found is None or found.asked is None or found.asked.context is None or found.plan.context is None:
        return Lacks(f"the size of the trained context is unknown: {target.plan_note}")
    trained, left = found.asked.context.n_ctx, found.plan.context.n_ctx
    if left >= trained:
        return None
    streams = found.plan.context.n_seq_max if not found.plan.context.kv_unified else 1
    is_spilled = found.fit.values.n_gpu_layers != found.given.n_gpu_layers or bool(
        set(found.fit.values.overrides) - set(found.given.overrides)
    )
    is_short = left // streams <= FEW_TOKENS or is_spilled or not found.fit.is_applied
    each = f" ({left // streams} a slot)" if streams > 1 else ""
    asked = f"{trained} tokens, the trained context for each of {streams} slots," if streams > 1 else ""
    also = " and move layers, or experts, to the host" if is_spilled else ""
    also = also or ("" if found.fit.is_applied else " and still not fit")
    return Found(
        "warning" if is_short else "info",
        f"{asked or f'the trained context of {trained} tokens'} does not fit, so --fit will shrink it to {left} "
        f"tokens{each}{also}, without a line in the log at its default level",
        evidence=f"no -c; {', '.join(_short(found.asked, target))} has not enough room with "
        f"{settings.fit_target_bytes[0]} bytes left free",
        cost=f"{trained - left} tokens of context",
        fix=(options(" to make it explicit", ctx_size=str(left)), *smaller_cache(target)),
        otherwise="a shorter -c, fewer slots or smaller weights",
    )


def _short(plan: MemoryPlan, target: LintTarget) -> list[str]:
    """The devices, or the host, that the options as typed leave no margin on."""
    margin = target.llama.fit_target_bytes[0]
    rooms = {device.name: device.free_bytes for device in target.devices} or {"host": target.host_total_bytes}
    found = [
        name
        for name, room in rooms.items()
        if room is not None
        and (part := plan.device(name))
        and device_fit(part, Room(room - margin)).fit is not Fit.FITS
    ]
    return found or list(rooms)


def _running(target: LintTarget, observed: Observed) -> Outcome:
    settings, hparams = target.llama, target.hparams
    has = observed.slot_context_tokens or 0
    if settings.ctx_tokens:
        slots = settings.parallel or 1
        asked = settings.ctx_tokens // (1 if settings.kv_unified or settings.parallel is None else slots)
        if has >= asked:
            return None
        capped = hparams is not None and has == hparams.n_ctx_train
        why = "the server caps a slot at the trained context" if capped else "the engine gave less"
        evidence = f"{target.said('ctx-size', 'parallel')}; the endpoint says {has}"
        kept = options(": the rest is memory that no slot can use", ctx_size=str(has * (settings.ctx_tokens // asked)))
        fix = (kept,) if capped else ""
        cost = f"{asked - has} tokens of context"
        return Found("warning", f"{asked} tokens a slot were asked for and there are {has}: {why}", evidence, cost, fix)
    if hparams is None:
        return Lacks(f"the trained context is unknown: {target.model_note}")
    if has >= hparams.n_ctx_train - 256:
        return None
    if not settings.fit and settings.parallel and not settings.kv_unified:
        return None  # then -np divides the trained context, and nothing was shrunk
    return Found(
        "warning" if has <= FEW_TOKENS else "info",
        f"a slot has {has} tokens, and the model was trained for {hparams.n_ctx_train}: --fit shrank the context to "
        "the memory that was free",
        evidence=f"no -c; the endpoint says {has}",
        cost=f"{hparams.n_ctx_train - has} tokens of context",
        fix=("-c with the length you need", *smaller_cache(target), "fewer slots"),
    )
