"""The host prompt cache may grow beyond what the machine has.

Why: llama-server keeps the caches of finished prompts in host memory, up to 8192 MiB by default (`--cache-ram`),
besides weights and caches that already are on the host, and up to 32 context checkpoints a slot.

Source: common/common.h (`cache_ram_mib`), tools/server/server-task.cpp, llama.cpp b11434.

Cost: up to `--cache-ram` MiB of host memory.

Fix: `--cache-ram N` with what can be spared, 0 to switch it off.

Fires on: no limit (`--cache-ram -1`), or more than the machine's memory. Quiet on: a limit that fits.
"""

from kvtop.analysis.lint.amounts import MIB, device_bytes, exact
from kvtop.analysis.lint.fixes.fix import Way, options
from kvtop.analysis.lint.rule import Example, Found, Outcome
from kvtop.analysis.lint.target import LintTarget

ENGINES: tuple[str, ...] = ("llama.cpp",)
READS_LAUNCH = True
FIRES = Example("llama-server -m MODEL -c 8192 --cache-ram -1")
QUIET = Example("llama-server -m MODEL -c 8192 --cache-ram 1024", host_total_bytes=64 << 30)
DEFAULT_MIB = 8192


def check(target: LintTarget) -> Outcome:
    """Needs the host's memory, unless there is no limit at all."""
    given = target.value("cache-ram")
    limit_mib = DEFAULT_MIB if given is None else int(given)
    if limit_mib == 0:
        return None
    fix = _fix(target)
    if limit_mib < 0:
        return Found(
            "warning",
            "the prompt cache in host memory has no limit",
            target.said("cache-ram"),
            "all host memory in time",
            fix,
        )
    if target.host_total_bytes is None:
        if limit_mib <= DEFAULT_MIB:
            return None
        return Found(
            "info",
            "the prompt cache in host memory may grow far beyond its default of 8192 MiB",
            evidence=f"{target.said('cache-ram')}; the host's memory is unknown",
            cost=f"up to {exact(limit_mib * MIB)} of host memory",
            fix=fix,
        )
    host = None if target.plan is None else target.plan.device("host")
    growth = None if target.plan is None else target.plan.host_growth
    checkpoints_bytes = (growth.checkpoints_bytes or 0) if growth is not None else 0
    planned = 0 if host is None else device_bytes(host)
    if planned + limit_mib * MIB + checkpoints_bytes <= target.host_total_bytes:
        return None
    # Checkpoints alone rarely reach their most: every slot would have to hold a long prompt of many turns.
    is_sure = planned + limit_mib * MIB > target.host_total_bytes
    also = f", with up to {exact(checkpoints_bytes)} of context checkpoints" if checkpoints_bytes else ""
    return Found(
        "warning" if is_sure and given is not None else "info",
        f"the prompt cache in host memory{' and context checkpoints' if also else ''} may grow to more than the host "
        "has, together with what the plan puts there",
        evidence=f"{target.said('cache-ram') or 'default --cache-ram 8192'}; host {exact(target.host_total_bytes)}",
        cost=f"up to {exact(limit_mib * MIB)} of host memory{also}",
        fix=(*fix, *_fewer_checkpoints(target, planned, checkpoints_bytes)),
    )


def _fewer_checkpoints(target: LintTarget, planned: int, checkpoints_bytes: int) -> tuple[Way, ...]:
    """Where they alone are more than the host has."""
    if target.host_total_bytes is None or planned + checkpoints_bytes <= target.host_total_bytes:
        return ()
    return ("fewer of them with --ctx-checkpoints",)


def _fix(target: LintTarget) -> tuple[Way, ...]:
    """The default where it fits, else half of what is left beside the plan."""
    limit_mib = DEFAULT_MIB
    if target.host_total_bytes is not None:
        host = None if target.plan is None else target.plan.device("host")
        left = target.host_total_bytes - (0 if host is None else device_bytes(host))
        if left < DEFAULT_MIB * MIB:
            limit_mib = max(left // (2 * MIB) // 256 * 256, 0)
    off = options(" to switch it off", cache_ram="0")
    return (options(cache_ram=str(limit_mib)), off) if limit_mib else (off,)
