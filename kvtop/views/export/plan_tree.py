"""A MemoryPlan as a tree that mirrors memory: device, segment, kind of cache; then what fits."""

from kvtop.domain.plan import DevicePlan, Estimate, MemoryPlan, PlanDevice
from kvtop.text import bytes_text, tokens_text

_WIDTH = 80


def plan_tree(
    plan: MemoryPlan, devices: tuple[PlanDevice, ...], *, explain: bool, largest_context_tokens: int | None
) -> str:
    """The plan in at most 80 columns, with a final newline. `largest_context_tokens` None: not asked or unlimited."""
    lines = [f"{plan.model}  ({plan.architecture}, {plan.rules_version})", *_context(plan), ""]
    for part in plan.devices:
        device = next((it for it in devices if it.name == part.name), None)
        lines += _device(part, device)
    lines += _cache(plan)
    if largest_context_tokens is not None:
        lines += [
            "",
            f"largest context that fits: {largest_context_tokens} tokens ({tokens_text(largest_context_tokens)})",
        ]
    lines += [f"note: {warning}" for warning in plan.warnings]
    if explain:
        lines += ["", "how this follows"]
        for step in plan.steps:
            lines += [f"  {step.text}", f"      {step.rule}"]
    return "\n".join(lines) + "\n"


def _context(plan: MemoryPlan) -> list[str]:
    lines = []
    context, vllm = plan.context, plan.vllm
    if context is not None:
        pool = "one pool for all" if context.kv_unified else f"{context.n_ctx_seq} each"
        sequences = "1 sequence" if context.n_seq_max == 1 else f"{context.n_seq_max} sequences, {pool}"
        types = f"K {plan.type_k}, V {plan.type_v}"
        attention = (
            "" if plan.flash_attention is None else f", flash attention {'on' if plan.flash_attention else 'off'}"
        )
        lines.append(f"{context.n_ctx} cells, {sequences}; {types}{attention}")
    if vllm is not None:
        blocks = "?" if vllm.num_gpu_blocks is None else str(vllm.num_gpu_blocks)
        concurrency = "?" if vllm.max_concurrency is None else f"{vllm.max_concurrency:.2f}x"
        lines.append(
            f"{blocks} blocks of {vllm.block_size_tokens} tokens; {tokens_text(vllm.kv_cache_tokens)} tokens; "
            f"maximum concurrency {concurrency}"
        )
    return lines


def _device(part: DevicePlan, device: PlanDevice | None) -> list[str]:
    """One device: its segments, their sum and whether it fits."""
    exact = [part.weights_bytes, part.kv_cache_bytes, part.recurrent_state_bytes, part.output_bytes]
    known = sum(size for size in exact if size is not None)
    total = part.compute + Estimate(known, known, known)
    rows = [
        ("weights", part.weights_bytes, "computed"),
        ("KV cache", part.kv_cache_bytes, "computed"),
        ("recurrent", part.recurrent_state_bytes or None, "computed"),
        ("output", part.output_bytes or None, "computed"),
    ]
    lines = [_row(part.name if device is None or not device.product else f"{part.name} {device.product}", "", "")]
    for name, size, basis in rows:
        if size is not None:
            lines.append(_row(f"├─ {name}", bytes_text(size), basis))
        elif name in {"weights", "KV cache"}:
            lines.append(_row(f"├─ {name}", "?", "unknown"))
    compute = part.compute
    spread = f"estimated, {bytes_text(compute.low_bytes)} to {bytes_text(compute.high_bytes)}"
    lines.append(_row("├─ compute", bytes_text(compute.value_bytes), spread))
    at_least = "" if None not in exact[:2] else "at least; "
    lines.append(_row("└─ total", bytes_text(total.value_bytes), at_least + _verdict(total, device)))
    return lines


def _verdict(total: Estimate, device: PlanDevice | None) -> str:
    if device is None:
        return ""
    room = device.free_bytes if device.free_bytes is not None else device.total_bytes
    if room is None:
        return "free memory unknown"
    left = bytes_text(abs(room - total.value_bytes))
    if total.high_bytes <= room:
        return f"fits, {left} left"
    if total.value_bytes <= room:
        return "fits unless the estimate is at its high end"
    return f"does not fit, {left} too much"


def _cache(plan: MemoryPlan) -> list[str]:
    lines = ["cache by kind"]
    for part in plan.cache_parts:
        cells = "does not grow" if part.cells is None else f"{part.layers} layers x {part.cells} cells"
        lines.append(_row(f"├─ {part.kind.replace('_', ' ')}", bytes_text(part.size_bytes), cells))
    per_token = "?" if plan.bytes_per_token is None else bytes_text(round(plan.bytes_per_token))
    return [*lines, _row("└─ per token", per_token, "of context, all devices")]


def _row(name: str, size: str, remark: str) -> str:
    return f"{name:<28.28}{size:>12}  {remark}"[:_WIDTH].rstrip()
