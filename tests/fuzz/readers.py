"""The readers of what strangers write, each as a function of bytes, with the errors that it may raise.

Anything else that comes out, a second without an end, or 64 MiB for one input is a fault.
"""

import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from kvtop.config import ConfigError, load_config
from kvtop.domain.model_file import ModelFileError
from kvtop.domain.plan import NoExactRuleError
from kvtop.domain.sample import Sample
from kvtop.io.web_config import WebConfigError, read_web_config
from kvtop.planning.commands.command import parse_command, process_command
from kvtop.planning.llamacpp.options.parse import parse_llama_server
from kvtop.planning.mlx.options import parse_server_options
from kvtop.planning.vllm.options.parse import parse_serve_options
from kvtop.sources.endpoints.engine import ServerInputs
from kvtop.sources.endpoints.http import Reply
from kvtop.sources.endpoints.prometheus_text import parse_metrics
from kvtop.sources.engines import ENGINES
from kvtop.sources.fleet.series import by_name, finite, vector
from kvtop.sources.model_files.gguf import read_gguf
from kvtop.sources.model_files.safetensors import read_safetensors
from kvtop.sources.recordings.encoding import decode_tick, encode_tick
from kvtop.sources.recordings.framing import RecordingError
from kvtop.sources.recordings.reader import Recording
from kvtop.sources.recordings.snapshot_file import SnapshotFileError, read_snapshot
from kvtop.sources.redaction.redact import allowed_environment, clean, clean_value, masked_argv, masked_stranger
from kvtop.sources.redaction.sanitize import sanitized
from kvtop.text import UnusableTextError
from kvtop.views.tui.themes.theme_files import ThemeFileError, read_theme

Reader = Callable[[bytes], None]
MOST_SECONDS = 1.0
MOST_BYTES = 64 << 20


@cache
def _scratch() -> Path:
    """A file that is written again for every input."""
    return Path(tempfile.mkdtemp(prefix="kvtop-fuzz-")) / "input"


def _file(data: bytes) -> Path:
    path = _scratch()
    path.write_bytes(data)
    return path


def gguf(data: bytes) -> None:
    read_gguf(_file(data), follow_parts=False)


def safetensors(data: bytes) -> None:
    read_safetensors(str(_file(data)))


def prometheus(data: bytes) -> None:
    names = {"vllm:num_requests_running", "llamacpp:requests_processing", "vllm:cache_config_info", "a"}
    parse_metrics(data.decode("utf-8", "replace"), names)


def replies(data: bytes) -> None:
    """One body for every path of every engine: what is read of it can be masked and kept."""
    for engine in ENGINES:
        answers = {path: Reply(path, 200, data, "llama.cpp") for path in engine.PATHS}
        engine.answers(answers)
        engine.wanted(answers, None)
        reading = engine.read(ServerInputs("h:1", "http://h:1", answers))
        sample = sanitized(Sample(1.0, "h", servers=(reading,)))
        encode_tick(sample, {})


def series(data: bytes) -> None:
    """What a metrics server of a cluster answers."""
    try:
        document: object = json.loads(data)
    except RecursionError:
        return
    finite(by_name(vector(document)))


def recording(data: bytes) -> None:
    opened = Recording(_file(data))
    for index in range(min(len(opened), 50)):
        opened.sample(index)


def snapshot(data: bytes) -> None:
    read_snapshot(_file(data), "x")


def tick(data: bytes) -> None:
    decode_tick(data, {}, "x")


def options(data: bytes) -> None:
    """A command line, its variables and its configuration file, split by bytes that no argument holds."""
    text = data.decode("utf-8", "surrogateescape")
    line, _, file = text.partition("\1")
    words = tuple(line.split("\0"))
    environ = dict(word.split("=", 1) for word in words if "=" in word)
    parse_llama_server(words, environ, (("/x", file),))
    parse_serve_options(words, config_yaml=file, environ=environ)
    parse_server_options(words)
    masked_argv(words)
    masked_stranger(words)
    allowed_environment(environ)
    for name, value in environ.items():
        clean_value(name, value)
    clean(text)
    for engine in ENGINES:
        if engine.recognises(words[0], words):
            engine.port_of(engine.launch(words, environ, ()))
    process_command(words)
    parse_command(words)


def configuration(data: bytes) -> None:
    load_config({}, str(_file(data)))


def theme(data: bytes) -> None:
    read_theme(_file(data))


def web_configuration(data: bytes) -> None:
    read_web_config(_file(data))


READERS: dict[str, tuple[Reader, tuple[type[Exception], ...]]] = {
    "gguf": (gguf, (ModelFileError,)),
    "safetensors": (safetensors, (ModelFileError,)),
    "prometheus": (prometheus, ()),
    "replies": (replies, ()),
    "series": (series, (ValueError,)),
    "recording": (recording, (RecordingError,)),
    "snapshot": (snapshot, (SnapshotFileError,)),
    "tick": (tick, (RecordingError,)),
    "options": (options, (UnusableTextError, NoExactRuleError)),
    "configuration": (configuration, (ConfigError,)),
    "theme": (theme, (ThemeFileError,)),
    "web_configuration": (web_configuration, (WebConfigError,)),
}
