"""The answer of `--fit` does not fit: it exceeds a device, or undercuts the margin that it promises.

Why: on one card, `--fit` interpolates the context between two measurements and never measures the result; windows and
compute buffers are not linear. On several cards it fills each without looking at the others, and turns pipeline
parallelism on with the last layer. It logs "successfully fit params" all the same.

Source: common/fit.cpp, llama.cpp b11434, replayed; the same commands were run through the engine's own code.

Cost: computed: what is missing, or how far below the margin it ends.

Fix: a smaller context than the engine would choose, or a larger margin (`-fitt`).

Fires on: DeepSeek V3 on cards of 24 and 12 GiB. Quiet on: Llama 3.1 8B on 12 GiB.
"""

from kvtop.analysis.lint.after_fit import after_fit
from kvtop.analysis.lint.amounts import device_bytes, exact
from kvtop.analysis.lint.fixes.fix import Way, options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.planning.llamacpp.fit.fitted import margins
from kvtop.planning.llamacpp.fit.outcome import Loaded

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL", gpus=("24GiB", "12GiB"), model="deepseek-v3")
QUIET = Example("llama-server -m MODEL", gpus=("12GiB",), model="llama-3.1-8b")
_MIB = 1024 * 1024
_STEP_TOKENS = 256
_WORTH_A_WORD = 64 * _MIB
"""Less than this below a margin is within what compute buffers are known to."""


def check(target: LintTarget) -> Outcome:
    """Before the start only: a server that runs has its memory."""
    found = None if target.observed is not None else after_fit(target)
    if not isinstance(found, Loaded) or not found.fit.is_applied or not target.devices:
        return None
    kept = margins(target.llama.fit_target_bytes, len(target.devices))
    for device, margin in zip(target.devices, kept, strict=True):
        part = found.plan.device(device.name)
        if part is None or device.free_bytes is None:
            continue
        left = device.free_bytes - device_bytes(part)
        if left < 0:
            return Found(
                "error",
                f"--fit reports success and loads {exact(-left)} more than {device.name} has: the server runs out of "
                "memory as it starts",
                evidence=f"{found.fit.change or 'nothing is changed'}; {exact(device_bytes(part))} on {device.name}, "
                f"{exact(device.free_bytes)} free",
                cost=f"{exact(-left)} too little",
                fix=_ways(target, found, -left),
                otherwise="-fit off with a placement of your own (-c, -ngl, -ts, -ot)",
            )
        if left < margin - _WORTH_A_WORD and found.fit.change:
            return Found(
                "warning",
                f"--fit leaves {exact(left)} on {device.name}, not the {exact(margin)} that it promises: it does not "
                "measure its answer again",
                evidence=found.fit.change,
                cost=f"{exact(margin - left)} less than the margin",
                fix=_ways(target, found, margin - left),
                otherwise="a larger margin (-fitt)",
            )
    return None


def _ways(target: LintTarget, found: Loaded, missing_bytes: int) -> tuple[Way, ...]:
    """A margin that is larger by what is missing; a context that is shorter by it."""
    largest = max(target.llama.fit_target_bytes) + missing_bytes
    ways: list[Way] = [options(fit_target=str(-(-largest // _MIB)))]
    context, per_token = found.plan.context, found.plan.bytes_per_token
    if not target.llama.ctx_tokens and context is not None and per_token:
        shorter = context.n_ctx - int(missing_bytes / per_token) - _STEP_TOKENS
        if shorter >= _STEP_TOKENS:
            ways.append(options(ctx_size=str(shorter // _STEP_TOKENS * _STEP_TOKENS)))
    return tuple(ways)
