"""Frames as plain sentences for screen readers and logs: everything once, then only what has changed.

No colour, no glyph, no cursor: one fact a line, a name first. What changes with every tick (tokens per second, bytes)
is told in steps, so that the reader is not talked over.
"""

from collections.abc import Iterator

from kvtop.domain.device import DeviceState
from kvtop.domain.frame import DeviceView, Finding, Frame, ServerView
from kvtop.domain.headroom import NO_VERDICT
from kvtop.domain.sample import PROCESSES
from kvtop.domain.server import ServerState
from kvtop.text import bytes_text, ratio_text, tokens_text
from kvtop.views.demo_mark import DEMO_SENTENCE

KV_STEP = 0.1
MEMORY_STEP = 0.05


def plain_lines(before: Frame | None, now: Frame) -> Iterator[str]:
    """The sentences that are new since `before`; all of them when that is None."""
    if before is None:
        if now.is_demo:
            yield DEMO_SENTENCE
        is_known = bool(now.servers) or PROCESSES not in now.pending
        servers = _count(len(now.servers), "server") if is_known else "servers not looked for yet"
        yield f"Host {now.host}: {_count(len(now.devices), 'device')}, {servers}."
    yield from _devices(before, now)
    yield from _servers(before, now)
    yield from _failures(before, now)
    if before is not None and before.pending and not now.pending:
        yield "Everything that was asked has answered."
    elif now.pending and (before is None or before.pending != now.pending):
        yield f"Waiting for {', '.join(now.pending)}."


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def _devices(before: Frame | None, now: Frame) -> Iterator[str]:
    known = {view.device.id: view for view in before.devices} if before is not None else {}
    for view in now.devices:
        old = known.pop(view.device.id, None)
        if old is None or _device_state(old) != _device_state(view):
            yield f"Device {view.device.id}, {view.device.name}: {_device_words(view)}."
    for gone in known:
        yield f"Device {gone} is gone."


def _device_state(view: DeviceView) -> tuple[object, ...]:
    memory = view.device.memory
    step = None
    if memory.used_bytes is not None and memory.total_bytes:
        step = int(memory.used_bytes / memory.total_bytes / MEMORY_STEP)
    return (view.device.state, view.device.note, step)


def _device_words(view: DeviceView) -> str:
    device, memory = view.device, view.device.memory
    words = f"{bytes_text(memory.used_bytes)} of {bytes_text(memory.total_bytes)} used".replace("?", "unknown")
    if memory.used_bytes is not None and memory.total_bytes:
        words += f", {ratio_text(memory.used_bytes / memory.total_bytes)}"
    if device.state is not DeviceState.OK:
        words = f"{device.state.value}, {words}"
    return f"{words}; {device.note}" if device.note else words


def _servers(before: Frame | None, now: Frame) -> Iterator[str]:
    known = {view.reading.id: view for view in before.servers} if before is not None else {}
    for view in now.servers:
        old = known.pop(view.reading.id, None)
        if old is None or _server_state(old) != _server_state(view):
            yield f"Server {view.reading.id}, {_model(view)}: {_server_words(view)}."
        told = {(finding.code, finding.message) for finding in old.findings} if old is not None else set()
        for finding in view.findings:
            if (finding.code, finding.message) not in told:
                yield _finding_words(view, finding)
    for gone in known:
        yield f"Server {gone} is gone."


def _server_state(view: ServerView) -> tuple[object, ...]:
    ratio = view.kv_cache.used_ratio
    # "full in 4m" counts down: the sentence comes when it begins, not with every minute.
    words = view.verdict.words.split(" in ")[0]
    return (view.reading.state, words, view.verdict.concern, None if ratio is None else int(ratio / KV_STEP))


def _model(view: ServerView) -> str:
    name = view.reading.model.name or view.reading.model.path or "unknown model"
    return f"{view.reading.engine}, {name.rsplit('/', 1)[-1]}"


def _server_words(view: ServerView) -> str:
    words = [view.reading.state.value if view.verdict == NO_VERDICT else view.verdict.words]
    if view.kv_cache.used_ratio is not None:
        at_most = "at most " if view.kv_cache.used_is_upper_bound else ""
        words.append(f"KV cache {at_most}{ratio_text(view.kv_cache.used_ratio)} used")
    if view.headroom.cache_tokens_left is not None:
        words.append(f"{tokens_text(view.headroom.cache_tokens_left)} tokens left")
    if view.reading.state is not ServerState.READY and view.reading.hint:
        words.append(view.reading.hint.rstrip("."))
    return ", ".join(words)


def _finding_words(view: ServerView, finding: Finding) -> str:
    fix = f" Fix: {finding.fix.rstrip('.')}." if finding.fix else ""
    return f"Finding on {view.reading.id}, {finding.severity} {finding.code}: {finding.message.rstrip('.')}.{fix}"


def _failures(before: Frame | None, now: Frame) -> Iterator[str]:
    known = {(it.source, it.message) for it in before.failures} if before is not None else set()
    for failure in now.failures:
        if (failure.source, failure.message) not in known:
            remedy = f" {failure.remedy.rstrip('.')}." if failure.remedy else ""
            yield f"Could not read {failure.source}: {failure.message.rstrip('.')}.{remedy}"
    for source, _ in sorted(known - {(it.source, it.message) for it in now.failures}):
        yield f"{source} can be read again."
