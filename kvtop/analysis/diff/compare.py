"""What differs between two states of a host. Pure: the planner is asked through the values that are handed in."""

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from kvtop.analysis.diff.causes import Planned, cause_of
from kvtop.domain.answers.comparison import ComparedServer, Comparison, Difference, HostState, Topic
from kvtop.domain.memory import Segment
from kvtop.text import bytes_text

Plans = Mapping[str, Planned]
"""By server id; a server that nobody can plan is missing."""

TOTAL = "total"
_Same = Callable[[ComparedServer, ComparedServer], bool]
_SAME: tuple[_Same, ...] = (
    lambda one, other: one.id == other.id,
    lambda one, other: (one.engine, _base(one.model)) == (other.engine, _base(other.model)),
)


HOST = "host"
"""The device whose free memory moves by itself: every program of the machine takes from it and gives back."""


def compare(
    before: HostState,
    after: HostState,
    tolerance_ratio: float,
    plans: tuple[Plans, Plans] = ({}, {}),
    *,
    everything: bool = False,
) -> Comparison:
    """Everything that differs. Numbers within `tolerance_ratio` of each other are listed but do not count.

    Nor does what moves by itself, the free memory of the host, unless `everything` is asked for.
    """
    differences: list[Difference] = []
    for first, second in pairs(before.servers, after.servers):
        if first is not None and second is not None:
            planned = (plans[0].get(first.id), plans[1].get(second.id))
            differences += _of_server(first, second, tolerance_ratio, planned)
        elif first is not None:
            differences.append(Difference(Topic.SERVER, first.id, "server", _words(first), None))
        elif second is not None:
            differences.append(Difference(Topic.SERVER, second.id, "server", None, _words(second)))
    for it in _headroom(before, after, tolerance_ratio):
        moves = it.topic is Topic.HEADROOM and it.subject == HOST and it.counts and not everything
        differences.append(replace(it, counts=False, moves_by_itself=True) if moves else it)
    return Comparison(before, after, tolerance_ratio, tuple(differences))


def pairs(
    before: tuple[ComparedServer, ...], after: tuple[ComparedServer, ...]
) -> list[tuple[ComparedServer | None, ComparedServer | None]]:
    """Which server is which: by id, then by engine and model, then the only ones left over."""
    rest = list(after)
    matched: list[ComparedServer | None] = [None] * len(before)
    for same in _SAME:
        for index, first in enumerate(before):
            if matched[index] is None:
                matched[index] = next((it for it in rest if same(first, it)), None)
                rest = [it for it in rest if it is not matched[index]]
    alone = [index for index, it in enumerate(matched) if it is None]
    if len(alone) == len(rest) == 1:
        matched[alone[0]] = rest.pop()
    return [*zip(before, matched, strict=True), *((None, it) for it in rest)]


def _of_server(
    first: ComparedServer, second: ComparedServer, tolerance: float, planned: tuple[Planned | None, Planned | None]
) -> Iterator[Difference]:
    subject = first.id if first.id == second.id else f"{first.id} → {second.id}"

    def cause(what: str) -> str:
        one, other = planned
        return cause_of(what, one, other) if one is not None and other is not None else ""

    yield from _configuration(subject, first, second)
    pool = _factors(first, second)
    for what, unit, one, other, measure in (
        ("KV capacity", "tokens", first.capacity_tokens, second.capacity_tokens, "capacity"),
        ("KV per token", "bytes per token", first.bytes_per_token, second.bytes_per_token, "bytes per token"),
        ("slots", "", first.slots, second.slots, ""),
        ("context of a slot", "tokens", first.slot_context_tokens, second.slot_context_tokens, ""),
    ):
        yield from _number(Topic.CAPACITY, subject, (what, unit), (one, other), tolerance, cause(measure))
    was, now = first.memory, second.memory
    for segment in Segment:
        why = cause(segment.value) or (pool if segment is Segment.KV_CACHE else "")
        sizes = was.bytes_of(segment), now.bytes_of(segment)
        yield from _number(Topic.MEMORY, subject, (segment.value, "bytes"), sizes, tolerance, why)
    sizes = first.total.value_bytes, second.total.value_bytes
    yield from _number(Topic.MEMORY, subject, (TOTAL, "bytes"), sizes, tolerance, "")
    gone, come = dict(first.findings), dict(second.findings)
    for code, message in gone.items():
        if code not in come:
            counts = code not in second.unasked_rules
            yield Difference(Topic.FINDING, subject, code, message, None, counts=counts)
    for code, message in come.items():
        if code not in gone:
            counts = code not in first.unasked_rules
            yield Difference(Topic.FINDING, subject, code, None, message, counts=counts)


def _configuration(subject: str, first: ComparedServer, second: ComparedServer) -> Iterator[Difference]:
    facts = [
        ("engine", first.engine, second.engine),
        ("build", first.version, second.version),
        ("model", first.model, second.model),
        ("K type", first.type_k, second.type_k),
        ("V type", first.type_v, second.type_v),
    ]
    # Options that nobody could read are unknown, not absent.
    if first.options is not None and second.options is not None:
        one, other = dict(first.options), dict(second.options)
        facts += [(f"--{name}", one.get(name), other.get(name)) for name in dict.fromkeys((*one, *other))]
    for what, before, after in facts:
        if before != after:
            # An option that is absent is not set; anything else that is absent is unknown, which proves nothing.
            counts = what.startswith("--") or None not in {before, after}
            yield Difference(Topic.CONFIGURATION, subject, what, before, after, counts=counts)


def _factors(first: ComparedServer, second: ComparedServer) -> str:
    """How a KV cache's size follows from tokens and bytes per token; "" where either side's are unknown."""
    tokens, each = (
        _ratio(first.capacity_tokens, second.capacity_tokens),
        _ratio(first.bytes_per_token, second.bytes_per_token),
    )
    if tokens is None or each is None or (tokens == 0 and each == 0):
        return ""
    return f"{_change(tokens)} tokens, {_change(each)} bytes per token"


def _headroom(before: HostState, after: HostState, tolerance: float) -> Iterator[Difference]:
    was, free = dict(before.free), dict(after.free)
    for device_id, one in before.free:
        if device_id in free:
            yield from _number(
                Topic.HEADROOM, device_id, ("free memory", "bytes"), (one, free[device_id]), tolerance, ""
            )
        elif free:
            yield Difference(Topic.DEVICE, device_id, "device", f"{bytes_text(one)} free", None)
    for device_id, other in after.free:
        if was and device_id not in was:
            yield Difference(Topic.DEVICE, device_id, "device", None, f"{bytes_text(other)} free")


def _number(
    topic: Topic,
    subject: str,
    what: tuple[str, str],
    values: tuple[float | None, float | None],
    tolerance: float,
    cause: str,
) -> Iterator[Difference]:
    before, after = values
    if before == after:
        return
    ratio = _ratio(before, after)
    counts = None not in values and (ratio is None or abs(ratio) > tolerance)
    yield Difference(topic, subject, what[0], before, after, what[1], ratio, counts, cause)


def _ratio(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None or before == 0 else after / before - 1


def _change(ratio: float) -> str:
    return "the same" if ratio == 0 else f"{abs(ratio) * 100:.0f} % {'more' if ratio > 0 else 'fewer'}"


def _base(model: str | None) -> str:
    return posixpath.basename((model or "").rstrip("/"))


def _words(server: ComparedServer) -> str:
    return f"{server.engine} {server.model or 'model unknown'}"
