"""Replies of anybody: whatever numbers and types they hold, every adapter reads them, and what it read can be kept.

A server is whoever listens on a port. One that says NaN, 2^70 or a list where a number belongs must not end a recorder,
a dashboard or an exporter, nor have them write a file that kvtop itself does not read.
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.process import Process
from kvtop.domain.sample import Failure, Sample
from kvtop.domain.server import ServerReading
from kvtop.sources.demo import SCENARIOS
from kvtop.sources.endpoints.engine import Engine, ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.engines import ENGINES, unidentified
from kvtop.sources.recordings.encoding import decode_tick, encode_tick
from kvtop.views.export.snapshot.formats import FORMATS, render
from tests.sources.engines.conftest import read_reply

FIXTURES = Path(__file__).parents[2] / "fixtures"
FOLDERS = sorted({path.parent for path in FIXTURES.glob("*/*/*.http")})
NUMBERS = (
    *(0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 2**70, 10**300, -(2**63), 1.5, -0.5, 1e18, 1e19, 1e300),
    *(float("nan"), float("inf"), float("-inf")),
)
ODD: tuple[object, ...] = (
    *NUMBERS,
    None,
    True,
    False,
    "",
    "x",
    "9" * 5000,
    "²",
    [],
    {},
    [None],
    [[]],
    {"a": {}},
    "\x1b[31m",
)
WRITTEN = (
    "NaN",
    "+Inf",
    "-Inf",
    "-1",
    "0",
    "1e400",
    "1e300",
    "9" * 5000,
    "1e18",
    "9223372036854775808",
    "0x10",
    "",
    "²",
)


def odd_json(random: Random, value: object) -> object:
    """The value with one thing in it odd, or gone."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        name = random.choice(sorted(value))
        if random.random() < 0.15:
            return {key: item for key, item in value.items() if key != name}
        return {**value, name: odd_json(random, value[name])}
    if isinstance(value, list) and value and random.random() < 0.9:
        at = random.randrange(len(value))
        return [*value[:at], odd_json(random, value[at]), *value[at + 1 :], *(value if random.random() < 0.1 else ())]
    if isinstance(value, str):
        digits = re.findall(r"\d+", value)
        if digits and random.random() < 0.5:
            return value.replace(random.choice(digits), random.choice(WRITTEN), 1)
    return random.choice(ODD)


def odd_metrics(random: Random, text: str) -> str:
    """The text with some values and labels odd."""
    lines = text.split("\n")
    for _ in range(random.choice((1, 2, 5, 40))):
        at = random.randrange(len(lines))
        head, blank, _ = lines[at].rpartition(" ")
        if blank:
            lines[at] = f"{head} {random.choice(WRITTEN)}"
        labels = re.findall(r'="([^"]*)"', lines[at])
        if labels and random.random() < 0.5:
            lines[at] = lines[at].replace(f'"{random.choice(labels)}"', f'"{random.choice(WRITTEN)}"', 1)
    return "\n".join(lines)


def odd_reply(random: Random, reply: Reply) -> Reply:
    if random.random() < 0.1:
        return replace(reply, status=random.choice((None, 0, 200, 401, 404, 500, 503, 99999)))
    if random.random() < 0.1:
        return replace(reply, body=reply.body[: random.randrange(len(reply.body) + 1)])
    try:
        value = json.loads(reply.body)
    except ValueError:
        return replace(reply, body=odd_metrics(random, reply.body.decode("utf-8", "replace")).encode())
    for _ in range(random.choice((1, 1, 3))):
        value = odd_json(random, value)
    return replace(reply, body=json.dumps(value).encode())


def read(engine: Engine, offered: dict[str, Reply], argv: tuple[str, ...]) -> ServerReading:
    """As a watched server asks: what was answered decides what is asked next."""
    options = engine.launch(argv, {}, [])
    replies: dict[str, Reply] = {}
    while due := [path for path in engine.wanted(replies, options) if path not in replies]:
        replies |= {path: offered.get(path) or Reply(path, 404) for path in due}
    engine.answers(replies)
    process = Process(7, 1, "server", argv)
    return engine.read(ServerInputs("s", "http://h:1", replies, options, (process,)))


def kept(reading: ServerReading, before: ServerReading | None = None) -> None:
    """Recorded and read again, explained, and written in every format."""
    host = SCENARIOS[0].at(8.0)
    history = History(report=unexpected)
    for second, it in enumerate((before or reading, reading)):
        sample: Sample = replace(host, taken_at=host.taken_at + second, servers=(it,))
        again = decode_tick(encode_tick(sample, {}), {}, "x")
        assert again.servers == sample.servers
        frame = analyse(history, sample, "1")
    for form in FORMATS:
        said = render(frame, form)
        if form == "json":
            json.loads(said, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def unexpected(source: str, error: BaseException, doing: str) -> Failure:
    """A fault in the analysis is one here too, and not a line on Sources."""
    del source, doing
    raise error


ARGV: dict[str, tuple[str, ...]] = {
    "llamacpp": ("llama-server", "-m", "m.gguf"),
    "vllm": ("vllm", "serve", "m"),
    "sglang": ("python3", "-m", "sglang.launch_server", "--model-path", "m"),
}


@pytest.mark.parametrize("folder", FOLDERS, ids=[f"{it.parent.name}-{it.name}" for it in FOLDERS])
@settings(max_examples=25)
@given(seed=integers(0, 2**32))
def test_every_reply_is_read_and_can_be_kept(folder: Path, seed: int) -> None:
    random = Random(seed)
    recorded = [read_reply(path) for path in sorted(folder.glob("*.http"))]
    argv = ARGV.get(folder.parent.name, ("server",))
    sound = {reply.path: reply for reply in recorded}
    odd = {path: odd_reply(random, reply) if random.random() < 0.6 else reply for path, reply in sound.items()}
    own = [it for it in ENGINES if str(getattr(it, "__name__", "")).endswith(f".{folder.parent.name}")]
    for engine in (*own, random.choice(ENGINES), unidentified):
        kept(read(engine, odd, argv), read(engine, sound, argv))
