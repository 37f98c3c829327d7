"""A llama-server that sleeps fits again when it wakes, from what its first fit wrote, and may abort.

Why: `--sleep-idle-seconds` unloads the model and loads it again from the same parameters. `--fit` has written the split
over the cards and the overrides into them, which now count as set by the user, while the number of layers is open
again: 27 of 33 layers become all of them. The server logs `tensor_split already set by user`, cannot allocate its
buffers and aborts.

Source: tools/server/server-context.cpp and common/common.cpp, llama.cpp b11434; a server on two cards did so.

Cost: the server ends when the first request wakes it.

Fix: pin what the fit chooses, so that it has nothing to do; or no sleep.

A running server is warned of where its layers were found to lie by a fit.

Fires on: `--sleep-idle-seconds 300` with Gemma 3 27B on two cards of 6 GiB. Quiet on: the same on two of 24 GiB.
"""

from kvtop.analysis.lint.after_fit import after_fit
from kvtop.analysis.lint.fixes.fix import Fix, options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.launch import Origin
from kvtop.planning.llamacpp.fit.outcome import Loaded

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
WRITTEN = ("tensor-split", "override-tensor")
"""What a fit writes into the parameters that a server loads from again."""
FIRES = Example("llama-server -m MODEL -ctk q8_0 --sleep-idle-seconds 300", gpus=("6GiB", "6GiB"), model="gemma-3-27b")
QUIET = Example(
    "llama-server -m MODEL -ctk q8_0 --sleep-idle-seconds 300", gpus=("24GiB", "24GiB"), model="gemma-3-27b"
)


def check(target: LintTarget) -> Outcome:
    """Only what a fit writes in place is dangerous: a split over several cards, or overrides."""
    seconds = target.value("sleep-idle-seconds")
    if seconds is None or int(seconds) < 0:
        return None
    if target.observed is not None:
        return _running(target)
    found = after_fit(target)
    if not isinstance(found, Loaded) or not found.fit.is_applied:
        return None
    values, given = found.fit.values, found.given
    written = [
        words
        for words, changed in (
            ("the split over the cards", values.tensor_split != given.tensor_split),
            ("tensor overrides", values.overrides != given.overrides),
        )
        if changed
    ]
    if not written:
        return None
    all_again = 0 <= values.n_gpu_layers < found.layers
    aborts = all_again and values.tensor_split != given.tensor_split
    then = f"all {found.layers} layers go to the cards" if all_again else "the context is open again"
    return Found(
        "error" if aborts else "warning",
        f"--fit writes {' and '.join(written)}, which count as set by the user when it wakes: the fit gives up, "
        f"{then}{', and the server aborts' if aborts else ''}",
        evidence=f"{target.said('sleep-idle-seconds')}; {found.fit.change}",
        cost="the server ends, or wakes with another placement",
        fix=(_pinned(found), options(sleep_idle_seconds=None)),
    )


def _running(target: LintTarget) -> Outcome:
    """A server that runs: where its layers were found to lie says what its fit has written."""
    launch = target.effective
    if launch is None:
        return None
    written = [it for it in launch.options if it.origin is Origin.ASSUMED and it.name in WRITTEN]
    if not written:
        return None
    names = ("ctx-size", "gpu-layers", *WRITTEN)
    values = {name: launch.value(name) for name in names}
    pinned = (*((name, value) for name, value in values.items() if value is not None), ("fit", "off"))
    return Found(
        "warning",
        "--fit wrote where the model lies, which counts as set by the user when it wakes: the fit gives up then, and "
        "the server wakes with another placement or aborts",
        evidence=f"{target.said('sleep-idle-seconds')}; {written[0].detail}",
        cost="the server ends, or wakes with another placement",
        fix=(Fix(pinned), options(sleep_idle_seconds=None)),
    )


def _pinned(found: Loaded) -> Fix:
    """The fit's own answer as options: nothing is left to fit."""
    names = ("ctx-size", "gpu-layers", *WRITTEN, "fit")
    values = {name: found.launch.value(name) for name in names}
    return Fix(tuple((name, value) for name, value in values.items() if value is not None))
