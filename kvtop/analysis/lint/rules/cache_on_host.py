"""The KV cache, or a part of it, lies in host memory though the device has room.

Why: `--no-kv-offload` keeps all of it there, and with `-ngl N` the cache of every layer that is not offloaded stays
with its layer. Each generated token then reads it over the bus.

Source: `llama_model::dev_layer` and `llama_kv_cache`, llama.cpp b11434.

Cost: computed: cache bytes on the host.

Fix: leave `--no-kv-offload` out; leave `-ngl` out (all that fits is the default) or `-ngl all`.

Fires on: `-ngl 10` on a card with room for all. Quiet on: no `-ngl`, and `-ngl 10` where more does not fit.
"""

from dataclasses import replace

from kvtop.analysis.lint.amounts import exact, fits_of
from kvtop.analysis.lint.fixes.fix import Way, options
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.answers.room import Fit
from kvtop.domain.memory import CACHES
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.llamacpp.fit.largest_context import largest_context

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 16384 -ngl 10", gpus=("24GiB",), model="llama-3.1-8b")
QUIET = Example("llama-server -m MODEL -c 16384", gpus=("24GiB",), model="llama-3.1-8b")
_SURELY_ALL = 150
"""More layers than any model has."""


def check(target: LintTarget) -> Outcome:
    """`--no-kv-offload` needs nothing; a partial offload needs the plan and the device's room."""
    settings = target.llama
    if settings.devices == ("none",) or (not target.devices and target.are_devices_known):
        return None
    plan = target.plan
    if not settings.kv_offload and settings.gpu_layers != 0:
        return Found(
            "warning",
            "--no-kv-offload keeps the whole cache in host memory: every token reads it from there",
            evidence=target.said("kv-offload"),
            cost="" if plan is None else f"{exact(_host_cache(plan))} on the host",
            fix=_on_device(target),
        )
    layers = settings.gpu_layers
    if layers is None or layers < 0 or layers >= _SURELY_ALL:
        return None
    hparams = target.hparams
    if hparams is None or plan is None:
        if layers >= 90:
            return None  # the customary 99: only the largest models have as many
        return Lacks(f"whether -ngl {layers} is all layers is unknown: {target.plan_note}")
    if layers >= hparams.n_layer_all + 1 or _host_cache(plan) == 0:
        return None
    if not target.devices:
        return Lacks("whether the device has room for more layers is unknown: pass --gpu")
    whole = target.plan_with(gpu_layers="all")
    if whole is None or fits_of(whole, target.where, on_cards=True) - {Fit.FITS}:
        return None
    return Found(
        "warning",
        f"-ngl {layers} keeps {hparams.n_layer_all + 1 - layers} layers and their cache on the host, though the "
        "device has room for all",
        evidence=target.said("gpu-layers"),
        cost=f"{exact(_host_cache(plan))} of cache on the host",
        fix=(options(" (all that fits)", gpu_layers=None), options(gpu_layers="all")),
    )


def _on_device(target: LintTarget) -> tuple[Way, ...]:
    """Where the cache has no room beside the rest, with the largest context that has."""
    whole = target.plan_with(kv_offload=None)
    model = target.prepared
    if whole is None or model is None or not target.devices:
        return (options("; if the device is full, a smaller -c or a quantized cache first", kv_offload=None),)
    if fits_of(whole, target.where, on_cards=True) <= {Fit.FITS, Fit.UNKNOWN}:
        return (options(kv_offload=None),)
    settings = replace(target.llama, kv_offload=True)
    most = largest_context(model, settings, target.devices, target.where.rooms, target.draft).tokens
    if not most:
        return ("smaller weights first: the device has no room for the cache",)
    return (options(kv_offload=None, ctx_size=str(most)),)


def _host_cache(plan: MemoryPlan) -> int:
    host = plan.device("host")
    return 0 if host is None else host.memory.bytes_of(*CACHES) or 0
