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

from dataclasses import replace

from kvtop.analysis.lint.fixes.fix import options, smaller_cache
from kvtop.analysis.lint.observed import Observed
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.answers.plan_answer import Fit, device_fit
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.llamacpp.fit.largest_context import largest_context
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
    rooms = _rooms(target, settings.fit_target_bytes)
    if not rooms:
        what = "the host's memory is unknown" if target.are_devices_known else "say --gpu"
        return Lacks(f"whether --fit will shrink the context depends on the device: {what}")
    plan, model = target.plan, target.prepared
    if plan is None or plan.context is None or model is None:
        return Lacks(f"the size of the trained context is unknown: {target.plan_note}")
    short = [name for name, room in rooms.items() if _is_short(plan, name, room)]
    if not short:
        return None
    most = largest_context(model, replace(settings, fit=False), target.devices, rooms, target.draft).tokens
    streams = plan.context.n_seq_max if not plan.context.kv_unified else 1
    trained = model.hparams.n_ctx_train * streams
    if most >= trained:
        return None
    given = settings.gpu_layers is not None or settings.tensor_split or settings.tensor_overrides
    least = settings.fit_ctx_tokens * streams
    floor = max(most, least)
    is_short = floor // streams <= FEW_TOKENS or most < least
    spilled = " and still not fit" if given or not target.devices else " and move layers to the host"
    each = f" ({floor // streams} a slot)" if streams > 1 else ""
    asked = f"{trained} tokens, the trained context for each of {streams} slots," if streams > 1 else ""
    return Found(
        "warning" if is_short else "info",
        f"{asked or f'the trained context of {trained} tokens'} does not fit, so --fit will shrink it to about {floor} "
        f"tokens{each}{'' if most >= least else spilled}, without a line in the log at its default level",
        evidence=f"no -c; {', '.join(short)} has not enough room with {settings.fit_target_bytes[0]} bytes left free",
        cost=f"about {trained - floor} tokens of context",
        fix=(options(" to have it in writing", ctx_size=str(floor)), *smaller_cache(target)),
        otherwise="a shorter -c, fewer slots or smaller weights",
    )


def _rooms(target: LintTarget, margins: tuple[int, ...]) -> dict[str, int | None]:
    """What `--fit` may fill: each device's free memory less its margin, without devices the host's whole memory."""
    if not target.devices:
        total = target.host_total_bytes if target.are_devices_known else None
        return {} if total is None else {"host": total - margins[0]}
    rooms: dict[str, int | None] = {}
    for number, device in enumerate(target.devices):
        free = device.total_bytes if device.free_bytes is None else device.free_bytes
        rooms[device.name] = None if free is None else free - margins[min(number, len(margins) - 1)]
    return rooms


def _is_short(plan: MemoryPlan, name: str, room_bytes: int | None) -> bool:
    part = plan.device(name)
    return part is not None and device_fit(part, room_bytes).fit is Fit.TOO_LARGE


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
