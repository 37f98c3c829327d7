"""The KV cache is larger than the model.

Why: a cache grows with the context and with every slot that has one of its own. Beyond some length it is the larger
part of the memory, and then the context, not the model, is what to look at.

Source: the plan of this command (docs/accuracy.md says how exact it is).

Cost: computed: both.

Fix: a shorter context, fewer slots, q8_0 for both caches.

Fires on: Llama 3.1 8B at its 131072 tokens. Quiet on: the same at 8192.
"""

from kvtop.analysis.lint.amounts import cache_bytes, exact, weight_bytes
from kvtop.analysis.lint.fixes.fix import Way, options, smaller_cache
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.answers.plan_answer import device_fit
from kvtop.domain.answers.room import Fit, Room
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.protocol.lint_traits import CacheProvision
from kvtop.planning.registry import PLANNED

ENGINES = PLANNED
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 131072", gpus=("48GiB",), model="llama-3.1-8b")
QUIET = Example("llama-server -m MODEL -c 8192", gpus=("48GiB",), model="llama-3.1-8b")


def check(target: LintTarget) -> Outcome:
    """Needs the plan; without `-c` only where `--fit` leaves the trained context alone."""
    kind, plan = target.traits.cache, target.plan
    if kind is CacheProvision.GROWING:
        return None  # nothing is taken before a sequence has grown
    if plan is None:
        return None if target.refusal else Lacks(f"no plan: {target.plan_note}")
    weights = weight_bytes(plan)
    if weights is None:
        return Lacks("the weights on the device are unknown")
    if kind is CacheProvision.POOL:
        return _one_request(target, weights)
    cache = cache_bytes(plan)
    settings = target.llama
    if cache <= weights:
        return None
    is_chosen = settings.ctx_tokens or target.value("ctx-size") == "0" or not settings.fit
    if not is_chosen and not target.devices and not target.are_devices_known:
        return Lacks("whether --fit keeps the trained context depends on the device: pass --gpu")
    if not is_chosen and not _keeps_its_context(target, plan):
        return None
    return Found(
        "info",
        "the KV cache is larger than the model",
        evidence=target.said("ctx-size", "parallel", "cache-type-k", "cache-type-v") or "no -c: the trained context",
        cost=f"{exact(cache)} of cache, {exact(weights)} of weights",
        fix=(_shorter(target, plan, cache, weights), *smaller_cache(target)),
    )


def _shorter(target: LintTarget, plan: MemoryPlan, cache: int, weights: int) -> Way:
    """The context, in thousands, whose cache is no larger than the weights; words where states or windows are."""
    if plan.context is not None:
        tokens = plan.context.n_ctx * weights // cache // 1024 * 1024
        if target.hparams is not None and target.hparams.n_ctx_train > 0:
            tokens = min(tokens, target.hparams.n_ctx_train * plan.context.n_seq_max)
        while tokens >= 1024:
            shorter = target.plan_with(ctx_size=str(tokens))
            if shorter is None:
                break
            if cache_bytes(shorter) <= weights:
                is_split = not plan.context.kv_unified and plan.context.n_seq_max > 1
                unified = {"kv_unified": "true"} if is_split else {}
                return options(ctx_size=str(tokens), **unified)
            tokens = tokens * 3 // 4 // 1024 * 1024
    return "a smaller -c or fewer slots (-np)"


def _keeps_its_context(target: LintTarget, plan: MemoryPlan) -> bool:
    """Whether `--fit` will leave the trained context alone: on the CPU always, on a card where all of it has room."""
    if not target.devices:
        return target.are_devices_known
    rooms = target.where.rooms
    margin = target.llama.fit_target_bytes[0]
    return all(
        (room := rooms.get(part.name)) is None or device_fit(part, Room(room.available_bytes - margin)).fit is Fit.FITS
        for part in plan.devices
    )


def _one_request(target: LintTarget, weights: int) -> Outcome:
    """vLLM fills the card anyway: what counts is one request of the longest length."""
    plan = target.plan
    if plan is None or plan.vllm is None or plan.bytes_per_token is None or target.value("max-model-len") is None:
        return None
    length = plan.vllm.max_model_len_tokens
    if length is None or plan.bytes_per_token * length <= weights:
        return None
    return Found(
        "info",
        f"one request of {length} tokens takes more cache than the model has weights",
        evidence=target.said("max-model-len"),
        cost=f"{exact(int(plan.bytes_per_token * length))} of cache, {exact(weights)} of weights, over all ranks",
        fix=(
            options(max_model_len=str(max(int(weights / plan.bytes_per_token) // 256 * 256, 256))),
            options(kv_cache_dtype="fp8"),
        ),
    )
