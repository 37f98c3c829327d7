"""A plan as a tree that mirrors memory: device, segment, kind of cache; then what fits. Plain text, 80 columns."""

import textwrap

from kvtop.domain.answers.plan_answer import DeviceFit, PlanAnswer
from kvtop.domain.answers.room import Fit, verdict
from kvtop.domain.figure import Basis, Figure
from kvtop.domain.memory import Segment
from kvtop.domain.plan import DeviceShare, MemoryPlan, PoolEstimate
from kvtop.text import bytes_text, tokens_text
from kvtop.views.segment_table import SEGMENT_TABLE
from kvtop.views.text.fit_lines import fit_lines
from kvtop.views.text.host_growth_words import host_growth_words
from kvtop.views.text.room_words import left_words, of_words, tight_words

_WIDTH = 80
_LEFT_OUT_AT_0 = frozenset({Segment.RECURRENT, Segment.OUTPUT})
_ASCII = str.maketrans({"→": "->", "├": "|", "└": "`", "─": "-", "…": ".", "≥": ">"})


def plan_tree(answer: PlanAnswer, *, explain: bool, ascii_only: bool = False) -> str:
    """The plan in at most 80 columns, with a final newline. `explain` adds exact bytes and the derivation."""
    plan = answer.plan
    lines = [*_wrapped(f"{plan.model}  ({plan.architecture}, {plan.rules_version})"), *_context(plan)]
    for paragraph in fit_lines(answer):
        # Flags are for copying: a pattern is never broken.
        lines += textwrap.wrap(
            paragraph, _WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
        )
    lines.append("")
    if answer.assumption:
        lines += [*_wrapped(f"estimate only: no exact rule; assuming that {answer.assumption}"), ""]
    basis = "assumed" if answer.assumption else "computed"
    for part, room in zip(plan.devices, answer.rooms, strict=True):
        lines += _device(part, room, basis, exact=explain)
        if part.name == "host":
            lines += _indented(host_growth_words(plan.host_growth))
    lines += _cache(plan)
    if answer.largest_context_tokens is not None:
        lines += ["", *_largest(answer, answer.largest_context_tokens)]
    lines += _checks(answer)
    for note in (*plan.warnings, *answer.notes):
        lines += _wrapped(f"note: {note}", "      ")
    if explain:
        lines += ["", "derivation"]
        for step in plan.steps:
            lines += _wrapped(f"  {step.text}", "    ")
            lines += _wrapped(f"    = {step.arithmetic}", "      ") if step.arithmetic else []
            lines += _wrapped(f"      {step.rule}", "      ")
    text = "\n".join(lines) + "\n"
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii") if ascii_only else text


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
        lines += _wrapped(f"{context.n_ctx} cells, {sequences}; {types}{attention}")
    if vllm is not None:
        blocks = "?" if vllm.num_gpu_blocks is None else str(vllm.num_gpu_blocks)
        concurrency = "?" if vllm.max_concurrency is None else f"{vllm.max_concurrency:.2f}x"
        lines += _wrapped(
            f"{blocks} blocks of {vllm.block_size_tokens} tokens; {tokens_text(vllm.kv_cache_tokens)} tokens; "
            f"maximum concurrency {concurrency}"
        )
        lines += _likely_pool(vllm.pool_estimate)
    return lines


def _likely_pool(found: PoolEstimate | None) -> list[str]:
    """What vLLM will probably find room for, where nobody states the pool."""
    if found is None:
        return []
    if found.tokens_high == 0:
        return _wrapped("KV pool: estimated as too small for one request of full length; vLLM would refuse to start")
    low = "" if found.tokens_low else "; at the low end vLLM would refuse to start"
    return _wrapped(
        f"KV pool per rank: {bytes_text(found.pool.value_bytes)}, estimated, {bytes_text(found.pool.low_bytes)} to "
        f"{bytes_text(found.pool.high_bytes)}: {tokens_text(found.tokens)} tokens ({tokens_text(found.tokens_low)} to "
        f"{tokens_text(found.tokens_high)}), maximum concurrency {found.concurrency:.2f}x{low}"
    )


def _device(part: DeviceShare, room: DeviceFit, basis: str, *, exact: bool) -> list[str]:
    """One device: its segments, their sum and whether it fits."""
    lines = _wrapped(f"{part.name} {room.product}".rstrip())
    pool = {} if room.pool is None else {Segment.KV_CACHE: room.pool.pool}
    for segment, planned in part.memory.parts:
        figure = planned if planned.value_bytes is not None else pool.get(segment, planned)
        size = figure.value_bytes
        if size == 0 and segment in _LEFT_OUT_AT_0:
            continue
        said = basis if figure.basis is Basis.COMPUTED else _spread(figure)
        is_counted = exact and figure.basis is not Basis.UNKNOWN and segment is not Segment.COMPUTE
        remark = f"{said}, {size} bytes" if is_counted else said
        lines.append(_row(f"├─ {SEGMENT_TABLE[segment].label}", bytes_text(size), remark))
    least = "" if room.is_whole else "≥ "
    lines.append(_row("└─ total", least + bytes_text(room.least_bytes), _verdict(room)))
    if room.fit is Fit.TIGHT and verdict(room.needed, room.room) is Fit.TIGHT:
        lines.append(f"   {tight_words(room.needed, room.room)}")
    if room.room is not None:
        lines += _indented(of_words(room.room))
    return lines


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="   ", subsequent_indent="   ", break_on_hyphens=False)


def _spread(figure: Figure) -> str:
    if figure.basis is not Basis.ESTIMATED or figure.low_bytes == figure.high_bytes:
        return figure.basis.value
    return f"estimated, {bytes_text(figure.low_bytes)} to {bytes_text(figure.high_bytes)}"


def _verdict(room: DeviceFit) -> str:
    if room.room is None:
        return ""
    left = left_words(room.room, room.needed)
    if room.fit is Fit.TOO_LARGE and left.endswith(" short"):
        return f"does not fit, {left.removesuffix(' short')} too much"
    if room.fit is Fit.TOO_LARGE:
        return "does not hold one request"
    if room.fit is Fit.UNKNOWN:
        return f"at least; {left} for the rest"
    return f"fits, {left}" if room.fit is Fit.FITS else left


def _cache(plan: MemoryPlan) -> list[str]:
    lines = ["cache by kind"]
    for part in plan.cache_parts:
        cells = "does not grow" if part.cells is None else f"{part.layers} layers x {part.cells} cells"
        lines.append(_row(f"├─ {part.kind.replace('_', ' ')}", bytes_text(part.size_bytes), cells))
    per_token = "?" if plan.bytes_per_token is None else bytes_text(round(plan.bytes_per_token))
    return [*lines, _row("└─ per token", per_token, "of context, all devices")]


def _largest(answer: PlanAnswer, tokens: int) -> list[str]:
    if tokens == 0:
        return ["no context fits"]
    limit = ", the full trained context" if answer.is_trained_limit else ""
    known = answer.plan.memory[Segment.COMPUTE].value_bytes is not None
    uncounted = "" if known else "; at most, since compute memory is not counted"
    return _wrapped(f"largest context that fits: {tokens} tokens ({tokens_text(tokens)}){limit}{uncounted}")


def _checks(answer: PlanAnswer) -> list[str]:
    if answer.checks is None:
        return []
    lines = ["", "beside llama-fit-params"]
    for check in answer.checks:
        verdict = "agrees" if check.agrees else f"it says {check.reported_mib} MiB"
        what = " and ".join(SEGMENT_TABLE[segment].label for segment in check.segments)
        lines.append(_row(f"├─ {check.device} {what}", f"{check.planned_mib} MiB", verdict))
    return [*lines, *_wrapped(f"└─ {answer.check_note}", "   ")]


def _wrapped(text: str, following: str = "  ") -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=following, break_on_hyphens=False) or [""]


def _row(name: str, size: str, remark: str) -> str:
    return f"{name:<28.28}{size:>12}  {remark}"[:_WIDTH].rstrip()
