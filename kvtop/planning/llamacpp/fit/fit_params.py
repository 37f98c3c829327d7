"""The question that `llama-fit-params` can be asked for a llama-server's command line, and its answer.

The tool prints one line a device: name, then MiB rounded down of weights, context (KV cache and state) and compute
(`common_fit_print`, common/fit.cpp, b11434). It knows no unified cache, counts no repacked weights, and sizes compute
for every output of a batch instead of one a slot; so it is asked about one slot without repacking.
"""

from dataclasses import dataclass, replace

from kvtop.domain.answers.plan_answer import Check
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.memory import CACHES, Segment
from kvtop.domain.plan import MemoryPlan
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.options.table import OPTIONS
from kvtop.text import UnusableTextError

_SHARED = (
    *("ctx-size", "batch-size", "ubatch-size", "flash-attn", "swa-full", "kv-offload", "cache-type-k", "cache-type-v"),
    *("device", "override-tensor", "cpu-moe", "n-cpu-moe", "n-cpu-ffn", "gpu-layers", "split-mode", "tensor-split"),
    *("main-gpu", "load-mode", "lazy-mode", "no-host", "op-offload", "override-kv"),
)
"""Options that decide memory and that the tool has too."""
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ToolRow:
    """One line of the tool, MiB rounded down."""

    device: str
    weights_mib: int
    context_mib: int
    compute_mib: int


def tool_arguments(options: LaunchOptions, model_path: str, *, without_devices: bool) -> list[str]:
    """The tool's command line for this server, without the program's name."""
    words = ["-m", model_path]
    for name in _SHARED:
        value = options.value(name)
        if value is None:
            continue
        spec = OPTIONS[name]
        if spec.values:
            words += [spec.spellings[-1], value]
        elif value == "true":
            words.append(spec.spellings[-1])
        elif spec.negatives:
            words.append(spec.negatives[-1])
    if without_devices and options.value("device") is None:
        words += ["--device", "none"]
    return [*words, "--parallel", "1", "--no-repack", "--fit-print", "on"]


def comparable(settings: LlamaSettings) -> LlamaSettings:
    """The settings that the tool's answer is about."""
    return replace(
        settings,
        parallel=1,
        kv_unified=False,
        kv_unified_per_slot_tokens=None,
        embeddings=False,
        repack=False,
        speculative_types=(),
        draft=None,
    )


def parse_tool_output(text: str) -> tuple[ToolRow, ...]:
    """The rows of the tool's output. Lines that are none are passed over."""
    rows = []
    for line in text.splitlines():
        *name, weights, context, compute = line.split() if len(line.split()) >= 4 else ("", "", "", "")
        if name != [""] and weights.isdecimal() and context.isdecimal() and compute.isdecimal():
            rows.append(ToolRow(" ".join(name), int(weights), int(context), int(compute)))
    return tuple(rows)


def compare(plan: MemoryPlan, rows: tuple[ToolRow, ...]) -> tuple[Check, ...]:
    """Weights and caches of the plan beside the tool's. Accelerators are matched by order, "Host" by name.

    Raises ValueError when the tool names another number of devices.
    """
    cards = [part.name for part in plan.devices if part.name != "host"]
    seen = [row for row in rows if row.device != "Host"]
    hosts = [row for row in rows if row.device == "Host"]
    if len(cards) != len(seen) or len(hosts) != 1:
        raise UnusableTextError(f"the tool sees {len(seen)} devices, the plan has {len(cards)}")
    named = {**dict(zip(cards, seen, strict=True)), "host": hosts[0]}
    checks = []
    for part in plan.devices:
        row = named[part.name]
        weights, caches = part.memory.bytes_of(Segment.WEIGHTS), part.memory.bytes_of(*CACHES)
        checks.append(Check(part.name, (Segment.WEIGHTS,), (weights or 0) // _MIB, row.weights_mib))
        checks.append(Check(part.name, CACHES, (caches or 0) // _MIB, row.context_mib))
    return tuple(checks)
