"""Why vLLM finds too little room, who has it, and what would start there, as hints below its refusal."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kvtop.domain.device import ProcessMemory
from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.commands.launch_command import customary_words
from kvtop.planning.protocol.plan_context import PlannableModel
from kvtop.planning.registry import plan_launch
from kvtop.planning.vllm.options.settings import DEFAULT_UTILIZATION
from kvtop.planning.vllm.pool.free_memory import WORDS, requested_bytes
from kvtop.planning.vllm.what_if.smaller_share import UTILIZATION, PlanWith, serving, smaller_share
from kvtop.sources.processes.process_facts import argv_of
from kvtop.sources.redaction.redact import clean, masked_argv
from kvtop.text import bytes_text

_MOST_WORDS = 6
"""Of another process's command: enough to recognise it."""


def with_hints(
    refusal: Refusal,
    launch: LaunchOptions,
    model: PlannableModel,
    devices: tuple[PlanDevice, ...],
    holders: Mapping[str, Sequence[ProcessMemory]],
) -> Refusal:
    """The refusal; where it is about free memory, with who holds the card and a share that would start."""
    if WORDS not in refusal.message:
        return refusal
    share = float(launch.value(UTILIZATION) or DEFAULT_UTILIZATION)
    short = [it for it in devices if (it.free_bytes or 0) < (requested_bytes(it, share) or 0)]
    lines = [line for device in short for line in _held(device.name, holders.get(device.name, ()))]

    def plan_with(changes: Mapping[str, str]) -> MemoryPlan | None:
        return _planned(launch, model, devices, changes)

    return replace(refusal, hints=(*lines, _way_out(devices, plan_with)))


def shorter_hint(launch: LaunchOptions, model: PlannableModel, devices: tuple[PlanDevice, ...]) -> str:
    """The length with which one request surely fits, for a pool that may not hold one; "" where none is known."""
    found = serving({}, lambda changes: _planned(launch, model, devices, changes))
    return f"one request surely fits with {_typed(found)}" if found else ""


def _planned(
    launch: LaunchOptions, model: PlannableModel, devices: tuple[PlanDevice, ...], changes: Mapping[str, str]
) -> MemoryPlan | None:
    kept = tuple(it for it in launch.options if it.name not in changes)
    added = tuple(LaunchOption(name, value, Origin.ARGV, f"--{name}") for name, value in changes.items())
    try:
        answer = plan_launch(replace(launch, options=(*kept, *added)), model, devices)
    except NoExactRuleError:
        return None
    return answer if isinstance(answer, MemoryPlan) else None


def _way_out(devices: tuple[PlanDevice, ...], plan_with: PlanWith) -> str:
    found = smaller_share(devices, plan_with)
    if found is not None:
        return f"would start and hold one request of full length: {_typed(found)}"
    return (
        "no smaller --gpu-memory-utilization is known to hold the weights and one request in what is free: stop what "
        "holds the card, or take another"
    )


def _typed(changes: Mapping[str, str]) -> str:
    return " ".join(customary_words("vllm", tuple(changes.items())))


def _held(name: str, processes: Sequence[ProcessMemory]) -> list[str]:
    """One line for each process on the card, the largest first."""
    ordered = sorted(processes, key=lambda it: -(it.used_bytes or 0))
    return [f"{name} is held by pid {it.pid}: {bytes_text(it.used_bytes)}{_command(it.pid)}" for it in ordered]


def _command(pid: int) -> str:
    words = masked_argv(argv_of(Path("/proc") / str(pid)))
    if not words:
        return ""
    shown = (Path(words[0]).name, *words[1:_MOST_WORDS], *(("…",) if len(words) > _MOST_WORDS else ()))
    return f", {clean(' '.join(shown))}"
