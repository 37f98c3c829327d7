"""Secrets are planted everywhere a server can hold them; no export, recording, message or screen may show one.

Every planted text has the word "canary" in it, so that one search finds whatever leaks.
"""

import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyte
import pytest

from kvtop.sources.recordings.reader import Recording
from kvtop.views.export.snapshot.formats import FORMATS

HERE = Path(__file__).parent
KVTOP = [sys.executable, "-m", "kvtop"]
CANARY = re.compile(rb"canary", re.IGNORECASE)


@dataclass(frozen=True)
class Planted:
    """A running server full of secrets, and what kvtop needs to see it."""

    port: int
    environ: dict[str, str]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: the stand-in server cannot be built")
    folder = tmp_path_factory.mktemp("server")
    program = folder / "llama-server"
    source = HERE / "standin_server" / "standin_server.c"
    subprocess.run([compiler, "-O1", "-Wall", "-o", str(program), str(source)], check=True)
    replies = folder / "replies"
    replies.mkdir()
    answers: dict[str, object] = {
        "props": {
            "api_key": "canary-1",
            "chat_template": "canary-2 {{ messages }}",
            "system_prompt": "canary-3",
            "default_generation_settings": {"n_ctx": 4096, "prompt": "canary-4", "params": {"seed": "canary-5"}},
            "total_slots": 1,
            "model_path": "https://user:canary-6@host/x/hf_canarycanary0123456789/model.gguf?token=canary-7",
            "model_alias": "alias sk-canary0123456789",
            "build_info": "b11434 Bearer canary0123456789",
            "model_ftype": "Q4_K nvapi-canary0123456789",
            "endpoint_slots": True,
            "endpoint_metrics": True,
            "modalities": {"canary-8": "canary-9"},
        },
        "slots": [
            {
                "id": 0,
                "n_ctx": 4096,
                "is_processing": True,
                "prompt": "canary-10",
                "generated": "canary-11",
                "n_prompt_tokens": 7,
                "next_token": [{"n_decoded": 3, "stopping_word": "canary-12"}],
                "params": {"grammar": "canary-13"},
            }
        ],
        "v1_models": {
            "data": [
                {"id": "eyJcanary.canary0.canary1", "owned_by": "canary-14", "meta": {"n_params": 5, "x": "canary"}}
            ],
            "models": [{"name": "canary-15"}],
        },
    }
    for name, answer in answers.items():
        (replies / name).write_text(json.dumps(answer), encoding="utf-8")
    metrics = '# HELP x canary-16\nllamacpp:requests_processing{key="canary-17"} 1\ncanary_total 1\n'
    (replies / "metrics").write_text(metrics, encoding="utf-8")
    words = [
        *("-m", "/models/hf_canarycanary0123456789/model.gguf", "-c", "4096", "--metrics"),
        *("--api-key", "canary-20,canary-21", "--api-key-file", "/keys/canary-22", "-hft", "canary-23"),
        *("--hf-token", "canary-24", "--ssl-key-file", "/canary-25/key.pem", "--ssl-cert-file", "/canary-26/c.pem"),
        *("--chat-template", "canary-27", "--system-prompt", "canary-28", "-p", "canary-29", "--prompt=canary-30"),
        *(
            "--mcp-servers-json",
            '{"a": {"env": {"TOKEN": "canary-31"}}}',
            "--chat-template-kwargs",
            '{"x": "canary-32"}',
        ),
        *("--api_key", "canary-33", "--api-key=canary-34", "--token", "canary-35", "--password", "canary-36"),
        *("--flag-of-tomorrow", "canary-37", "canary-38", "--other=canary-39", "--header", "X-Key: canary-40"),
        *("-mu", "https://user:canary-41@host/m.gguf?X-Amz-Signature=canary-42", "--alias", "ghp_canarycanarycanary01"),
        *("--otlp-headers", "authorization=canary-43", "--kv-transfer-config", '{"password": "canary-44"}'),
    ]
    environ = dict.fromkeys(
        (
            *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "LLAMA_API_KEY", "LLAMA_ARG_API_KEY", "LLAMA_ARG_API_KEY_FILE"),
            *("LLAMA_ARG_HF_TOKEN", "LLAMA_ARG_SSL_KEY_FILE", "LLAMA_ARG_CHAT_TEMPLATE", "LLAMA_ARG_MCP_SERVERS_JSON"),
            *("AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "VLLM_API_KEY", "OTEL_EXPORTER_OTLP_HEADERS", "DATABASE_URL"),
            *("GGML_SECRET", "SGLANG_ADMIN_KEY", "SOMETHING_ELSE"),
        ),
        "canary-50",
    )
    environ |= {"HTTPS_PROXY": "http://u:canary-51@proxy", "CUDA_VISIBLE_DEVICES": "0", "STANDIN_REPLIES": str(replies)}
    process, port = listening([str(program), *words], {"PATH": os.environ["PATH"], **environ})
    config = folder / "config"
    own = {**os.environ, "PYTHONPATH": str(HERE.parent), "KVTOP_API_KEY": "canary-60", "XDG_CONFIG_HOME": str(config)}
    yield Planted(port, own)
    process.kill()
    process.wait(timeout=60)


def listening(command: list[str], environ: dict[str, str]) -> "tuple[subprocess.Popen[bytes], int]":
    """The server on a free port, once it can be asked; another port where somebody was quicker."""
    for _ in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        process = subprocess.Popen([*command, "--port", str(port)], env=environ)
        ends = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < ends:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
            except OSError:
                time.sleep(0.05)
            else:
                return process, port
        process.kill()
        process.wait(timeout=60)
    raise AssertionError("the stand-in for a server does not listen")


def kvtop(planted: Planted, *words: str) -> bytes:
    """Everything that one command says."""
    done = subprocess.run([*KVTOP, *words], capture_output=True, timeout=240, check=False, env=planted.environ)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.stdout + done.stderr


def clean(content: bytes) -> bool:
    found = CANARY.search(content)
    assert found is None, content[max(found.start() - 200, 0) : found.end() + 60]
    return True


@pytest.mark.parametrize("name", FORMATS)
def test_no_snapshot_shows_a_secret(planted: Planted, name: str, dead_address: str) -> None:
    urls = (f"http://user:canary-70@127.0.0.1:{planted.port}", f"http://user:canary-71@{dead_address}/?key=canary-73")
    words = ["--anonymize"] if name == "csv" else []
    shown = kvtop(planted, "snapshot", "--format", name, *words, "--url", urls[0], "--url", urls[1])
    assert str(planted.port).encode() in shown, "the server was found"
    clean(shown)


def was_asked(path: Path, port: int) -> bool:
    """The last sample of a recording has the slots of the server on that port."""
    opened = Recording(path)
    servers = opened.sample(len(opened) - 1).servers
    return any(it.slots is not None for it in servers if str(port) in it.id)


def test_no_recording_report_or_difference_shows_a_secret(planted: Planted, tmp_path: Path) -> None:
    recording, report = tmp_path / "x.kvtop", tmp_path / "r.zip"
    said = b""
    for seconds in (4, 30, 120):  # a machine with much to do asks late
        for path in (recording, report):
            path.unlink(missing_ok=True)
        said += kvtop(planted, "record", str(recording), "--duration", f"{seconds}s", "--interval", "0.5")
        said += kvtop(planted, "report", "-o", str(report), "--seconds", f"{seconds}")
        if all(was_asked(path, planted.port) for path in (recording, report)):
            break
    for path in (recording, report):
        clean(path.read_bytes())
        opened = Recording(path)
        samples = [opened.sample(index) for index in range(len(opened))]
        server = next(it for sample in samples[-1:] for it in sample.servers if str(planted.port) in it.id)
        assert was_asked(path, planted.port), "it was asked, and it answered"
        assert server.launch is not None
        assert server.launch.value("ctx-size") == "4096"
        clean(repr(samples).encode())
        said += kvtop(planted, "replay", str(path), "--format", "html")
    with zipfile.ZipFile(report) as archive:
        said += b"".join(archive.read(name) for name in archive.namelist())
    said += kvtop(planted, "diff", str(recording), "live") + kvtop(planted, "diff", str(recording), "live", "--json")
    clean(said)


def page_with(word: bytes, url: str) -> bytes:
    """The exporter's page, once it tells of the server."""
    ends, text = time.monotonic() + 120, b""
    while word not in text:
        assert time.monotonic() < ends, text
        time.sleep(0.2)
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as not_yet:
            not_yet.close()
    return text


def test_no_metric_rule_or_check_shows_a_secret(planted: Planted) -> None:
    exporter = subprocess.Popen(
        [*KVTOP, "exporter", "--listen", "127.0.0.1:0", "--interval", "0.5"],
        stderr=subprocess.PIPE,
        env=planted.environ,
    )
    assert exporter.stderr is not None
    line = exporter.stderr.readline()
    url = re.search(rb"http://\S+", line)
    assert url is not None
    text = page_with(str(planted.port).encode(), url[0].decode())
    exporter.send_signal(signal.SIGTERM)
    rest = exporter.communicate(timeout=120)[1]
    clean(line + text + rest)
    clean(kvtop(planted, "lint") + kvtop(planted, "lint", "--json") + kvtop(planted, "doctor"))


def drawn_until(terminal: int, word: str, screen: pyte.Screen, stream: pyte.ByteStream) -> bytes:
    """The texts drawn until a word stands on the screen and no more comes at once; without a word until it has left.

    The word is looked for on the screen: what stood there before is not drawn again. Figures that never rest may be
    drawn for ever: five seconds of them are enough.
    """
    ends, drawn = time.monotonic() + 120, b""
    seen_at: float | None = None
    while time.monotonic() < ends:
        ready, _, _ = select.select([terminal], [], [], 0.5)
        if seen_at is not None and (not ready or time.monotonic() - seen_at > 5):
            return drawn
        try:
            piece = os.read(terminal, 65536) if ready else b""
        except OSError:
            assert not word, drawn
            return drawn
        drawn += re.sub(rb"\x1b\[[0-9;:?]*[A-Za-z]", b"", piece)
        # The emulator takes private forms of some sequences for others.
        stream.feed(re.sub(rb"\x1b\[[<>=?][0-9;:$]*[A-Za-z]", b"", piece))
        if seen_at is None and word and any(word in line for line in screen.display):
            seen_at = time.monotonic()
    raise AssertionError((word, *screen.display))


def test_no_screen_shows_a_secret(planted: Planted) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(planted.environ, TERM="xterm-256color", COLUMNS="160", LINES="50")
        os.execv(sys.executable, [*KVTOP])
    steps = [("", str(planted.port)), ("2", "headroom"), ("d", "derivation"), ("5", "Findings"), ("6", "Devices")]
    steps += [("8", "Sources"), ("?", "Keys on this screen"), ("q", "")]
    screen = pyte.Screen(160, 50)
    stream = pyte.ByteStream(screen)
    drawn = b""
    for key, word in steps:
        os.write(terminal, key.encode())
        drawn += drawn_until(terminal, word, screen, stream)
    os.close(terminal)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert len(drawn) > 5000
    clean(drawn)
