"""One full prompt is larger than `--cache-ram`, so it is never kept, or the limit does not hold.

Why: llama-server saves the caches of a slot's prompt in host memory when another prompt takes the slot. Builds from
b10068 on skip a prompt that is larger than the limit: it is worked through again at every switch. Builds up to b9760
keep the newest prompt whatever its size: a process with little memory is ended by the system.

Source: tools/server/server-task.cpp (`server_prompt_cache::alloc` and `update`) of llama.cpp b9760, b10068 and b11434;
llama.cpp issue 20509.

Cost: computed to the byte: one prompt of the longest context that a slot has.

Fix: `--cache-ram` that holds one, `--cache-ram 0` to save none.

Fires on: `--cache-ram 2048` with Gemma 3 27B and a context of 65536. Quiet on: the same with 8192.
"""

from kvtop.analysis.lint.after_fit import after_fit
from kvtop.analysis.lint.amounts import MIB, device_bytes, exact
from kvtop.analysis.lint.fixes.fix import Way, options
from kvtop.analysis.lint.rule import Example, Found, Lacks, Outcome
from kvtop.analysis.lint.target import LintTarget
from kvtop.domain.plan import HostGrowth, MemoryPlan
from kvtop.planning.llamacpp.cache_speed import build_number
from kvtop.planning.llamacpp.fit.outcome import Loaded

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 65536 -np 1 --cache-ram 2048", gpus=("48GiB",), model="gemma-3-27b")
QUIET = Example("llama-server -m MODEL -c 65536 -np 1 --cache-ram 8192", gpus=("48GiB",), model="gemma-3-27b")
LAST_KEPT, FIRST_SKIPPED = 9760, 10068
"""Builds whose sources were read; between them one of the two holds."""


def check(target: LintTarget) -> Outcome:
    """Needs the plan: the caches of the context that the server ends up with."""
    plan = loaded_plan(target)
    growth = None if plan is None else plan.host_growth
    if plan is None or growth is None:
        return Lacks(f"no plan: {target.plan_note}")
    limit_bytes, prompt_bytes = growth.cache_limit_bytes, growth.prompt_bytes
    if not limit_bytes or prompt_bytes is None or prompt_bytes <= limit_bytes:
        return None
    is_given = target.option("cache-ram") is not None
    return Found(
        "warning" if is_given else "info",
        f"a prompt of {growth.prompt_tokens} tokens, which a slot may hold, is larger than --cache-ram: "
        f"{_consequence(target)}",
        evidence=f"{target.said('cache-ram') or 'default --cache-ram 8192'}; {exact(prompt_bytes)} for one",
        cost=f"{exact(prompt_bytes - limit_bytes)} more than the limit",
        fix=_fix(target, plan, growth, prompt_bytes),
    )


def loaded_plan(target: LintTarget) -> MemoryPlan | None:
    """The plan of what the server loads: after `--fit` where that can be computed, else as typed."""
    found = None if target.observed is not None else after_fit(target)
    return found.plan if isinstance(found, Loaded) else target.plan


def _consequence(target: LintTarget) -> str:
    version = target.version or (None if target.launch is None else target.launch.engine_version)
    build = build_number(version)
    skipped = "it is never kept, and is worked through again at every switch of prompts"
    kept = "this build keeps it all the same, beyond the limit"
    if build is None or build >= FIRST_SKIPPED:
        return skipped
    return kept if build <= LAST_KEPT else f"by build, {skipped}, or it is kept beyond the limit"


def _fix(target: LintTarget, plan: MemoryPlan, growth: HostGrowth, prompt_bytes: int) -> tuple[Way, ...]:
    """A limit that holds one prompt with one checkpoint, where the host has as much; or none at all."""
    wanted_mib = -(-(prompt_bytes + (growth.checkpoint_bytes or 0)) // MIB)
    host = plan.device("host")
    needed = (0 if host is None else device_bytes(host)) + wanted_mib * MIB
    off = options(" to keep none", cache_ram="0")
    if target.host_total_bytes is not None and needed > target.host_total_bytes:
        return (off,)
    return (options(cache_ram=str(-(-wanted_mib // 256) * 256)), off)
