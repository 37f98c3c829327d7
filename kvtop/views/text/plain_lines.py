"""Frames as plain sentences for screen readers and logs: everything once, then only what has changed.

No colour, no glyph, no cursor: one fact a line, a name first. What changes with every tick (tokens per second, bytes)
is announced in steps from what was announced last, so that a figure that moves to and fro is not read aloud again and
again; a finding is announced once while it lasts. Units are whole words: a screen reader reads "3m" as three metres.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from kvtop.domain.device import DeviceMemory, DeviceState
from kvtop.domain.frame import DeviceView, Finding, Frame, ServerView
from kvtop.domain.headroom import NO_VERDICT
from kvtop.domain.sample import PROCESSES
from kvtop.domain.server import ServerState
from kvtop.text import bytes_text, ratio_text
from kvtop.views.demo_mark import DEMO_SENTENCE

KV_STEP = 0.1
MEMORY_STEP = 0.05


@dataclass(slots=True)
class Announcer:
    """What one listener has heard. `lines` gives what is new to them: everything at first."""

    before: Frame | None = None
    memory_ratios: dict[str, float] = field(default_factory=dict)
    """By device: the share of memory in use when the device was last announced."""
    cache_ratios: dict[str, float] = field(default_factory=dict)
    """By server: the share of the KV cache in use when the server was last announced."""

    def lines(self, now: Frame) -> Iterator[str]:
        """The sentences that are new in `now`. The announcer has heard the frame when they are read to the end."""
        for line in self._news(now):
            yield in_whole_words(line)
        self.before = now

    def _news(self, now: Frame) -> Iterator[str]:
        before = self.before
        if before is None:
            if now.is_demo:
                yield DEMO_SENTENCE
            is_known = bool(now.servers) or PROCESSES not in now.pending
            servers = _count(len(now.servers), "server") if is_known else "servers not looked for yet"
            yield f"Host {now.host}: {_count(len(now.devices), 'device')}, {servers}."
        yield from self._devices(now)
        yield from self._servers(now)
        yield from _failures(before, now)
        if before is not None and before.pending and not now.pending:
            yield "Everything that was asked has answered."
        elif now.pending and (before is None or before.pending != now.pending):
            yield f"Waiting for {', '.join(now.pending)}."

    def _devices(self, now: Frame) -> Iterator[str]:
        known = {view.device.id: view for view in self.before.devices} if self.before is not None else {}
        for view in now.devices:
            device, old = view.device, known.pop(view.device.id, None)
            ratio = _memory_ratio(device.memory)
            is_as_it_was = old is not None and (old.device.state, old.device.note) == (device.state, device.note)
            if not (is_as_it_was and _is_near(self.memory_ratios, device.id, ratio, MEMORY_STEP)):
                yield f"Device {device.id}, {device.name}: {_device_words(view)}."
                _remember(self.memory_ratios, device.id, ratio)
        for gone in known:
            _remember(self.memory_ratios, gone, None)
            yield f"Device {gone} is gone."

    def _servers(self, now: Frame) -> Iterator[str]:
        known = {view.reading.id: view for view in self.before.servers} if self.before is not None else {}
        for view in now.servers:
            server, old = view.reading.id, known.pop(view.reading.id, None)
            is_as_it_was = old is not None and _server_state(old) == _server_state(view)
            ratio = view.kv_cache.used_ratio
            if not (is_as_it_was and _is_near(self.cache_ratios, server, ratio, KV_STEP)):
                yield f"Server {server}, {_model(view)}: {_server_words(view)}."
                _remember(self.cache_ratios, server, ratio)
            yield from _findings(old, view)
        for gone in known:
            _remember(self.cache_ratios, gone, None)
            yield f"Server {gone} is gone."


def _memory_ratio(memory: DeviceMemory) -> float | None:
    return memory.used_bytes / memory.total_bytes if memory.used_bytes is not None and memory.total_bytes else None


def _is_near(announced: dict[str, float], name: str, ratio: float | None, step_ratio: float) -> bool:
    last = announced.get(name)
    return ratio == last if ratio is None or last is None else abs(ratio - last) < step_ratio


def _remember(announced: dict[str, float], name: str, ratio: float | None) -> None:
    if ratio is None:
        announced.pop(name, None)
    else:
        announced[name] = ratio


def _findings(old: ServerView | None, view: ServerView) -> Iterator[str]:
    """A rule's message counts with the figures in it: the rule and its severity say whether it is news."""
    heard = {(it.code, it.severity) for it in old.findings} if old is not None else set()
    for finding in view.findings:
        if (finding.code, finding.severity) not in heard:
            yield _finding_words(view, finding)
    for code in sorted({code for code, _ in heard} - {it.code for it in view.findings}):
        yield f"Finding {code} on {view.reading.id} no longer holds."


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def _device_words(view: DeviceView) -> str:
    device, memory = view.device, view.device.memory
    words = f"{bytes_text(memory.used_bytes)} of {bytes_text(memory.total_bytes)} used".replace("?", "unknown")
    if (ratio := _memory_ratio(memory)) is not None:
        words += f", {ratio_text(ratio)}"
    if device.state is not DeviceState.OK:
        words = f"{device.state.value}, {words}"
    return f"{words}; {device.note}" if device.note else words


def _server_state(view: ServerView) -> tuple[object, ...]:
    # "full in 4m" counts down: the sentence comes when it begins, not with every minute.
    return (view.reading.state, view.verdict.kind, view.verdict.concern)


def _model(view: ServerView) -> str:
    name = view.reading.model.name or view.reading.model.path or "unknown model"
    return f"{view.reading.engine}, {name.rsplit('/', 1)[-1]}"


def _server_words(view: ServerView) -> str:
    words = [view.reading.state.value if view.verdict == NO_VERDICT else view.verdict.words]
    if view.kv_cache.used_ratio is not None:
        at_most = "at most " if view.kv_cache.used_is_upper_bound else ""
        words.append(f"KV cache {at_most}{ratio_text(view.kv_cache.used_ratio)} used")
    if view.headroom.cache_tokens_left is not None:
        words.append(f"{round(view.headroom.cache_tokens_left)} tokens left")
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


_SIZE = re.compile(r"(?<=\d) ([KMGT])iB\b")
_SIZE_WORDS = {"K": "kibibytes", "M": "mebibytes", "G": "gibibytes", "T": "tebibytes"}
_DURATION = re.compile(r"(?:(?<=\bin )|(?<=\bfilled ))((?:\d+[dhms])+)\b")
_DURATION_WORDS = {"d": "day", "h": "hour", "m": "minute", "s": "second"}


def in_whole_words(line: str) -> str:
    """The line with its units as words: "3.61 GiB" as "3.61 gibibytes", "in 1m58s" as "in 1 minute 58 seconds"."""
    line = _SIZE.sub(lambda it: f" {_SIZE_WORDS[it[1]]}", line)
    return _DURATION.sub(lambda it: " ".join(_part(*part) for part in re.findall(r"(\d+)([dhms])", it[1])), line)


def _part(number: str, unit: str) -> str:
    return _count(int(number), _DURATION_WORDS[unit])
