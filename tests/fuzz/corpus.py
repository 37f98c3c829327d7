"""Where fuzzing starts: small whole inputs of every kind, from the fixtures and from writers of our own.

`python -m tests.fuzz.corpus` writes them into tests/fuzz/corpus; inputs that once broke a reader lie there too, with
names that begin with `found-`.
"""

import json
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from kvtop.app.frames import last_frame
from kvtop.sources.demo import SCENARIOS, scenario
from kvtop.sources.recordings.encoding import Info, encode_tick
from kvtop.sources.recordings.writer import RecordingWriter
from kvtop.views.export.snapshot.formats import render
from tests.sources.model_files.conftest import _gguf, _safetensors

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
_FIXTURES = HERE.parent / "fixtures"
_SMALL_BYTES = 4096
_WEB = b"tls_server_config:\n  cert_file: a\n  key_file: b\n  min_version: TLS13\nbasic_auth_users:\n  a: $2y$10$x\n"


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """(reader, name, content)."""
    yield from _model_files()
    yield from _replies()
    yield from _recordings()
    yield from _texts()


def _model_files() -> Iterator[tuple[str, str, bytes]]:
    metadata = {
        "general.architecture": ("str", "llama"),
        "llama.block_count": ("u32", 2),
        "llama.heads": ("arr:i32", [4, 4]),
        "general.alignment": ("u32", 32),
        "tokenizer.ggml.tokens": ("arr:str", ["a", "b"]),
        "x": ("f64", 0.5),
    }
    tensors = [("a", 0, (8, 2), 64), ("b", 1, (32,), 64)]
    for order in "<>":
        yield "gguf", f"order-{'little' if order == '<' else 'big'}", _gguf(metadata, tensors, order=order)
    yield "gguf", "empty", _gguf({})
    yield "safetensors", "two", _safetensors({"a": ("BF16", (4, 4), 32), "b": ("F32", (2,), 8)}, {"format": "pt"})


def _replies() -> Iterator[tuple[str, str, bytes]]:
    for path in sorted(_FIXTURES.glob("*/*/*.http")):
        head, _, body = path.read_bytes().partition(b"\r\n\r\n")
        body = body or head.partition(b"\n\n")[2]
        name = f"{path.parts[-3]}-{path.parts[-2]}-{path.stem}"
        if body and len(body) <= _SMALL_BYTES:
            yield ("prometheus" if "metrics" in path.stem else "replies"), name, body
    vector = {"resultType": "vector", "result": [{"metric": {"__name__": "a", "b": "c"}, "value": [1.5, "2"]}]}
    yield "series", "vector", json.dumps({"status": "success", "data": vector}).encode()


def _recordings() -> Iterator[tuple[str, str, bytes]]:
    chosen = scenario("rtx4090_llamacpp")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.kvtop"
        writer = RecordingWriter(path, Info("fuzz", 1.0))
        for second in range(3):
            writer.write(chosen.at(float(second)))
        writer.close()
        yield "recording", "three-ticks", path.read_bytes()
    for one in SCENARIOS[:4]:
        yield "tick", one.name, encode_tick(one.at(1.0), {})
    yield "snapshot", "json", render(last_frame([chosen.at(8.0)]), "json").encode()


def _texts() -> Iterator[tuple[str, str, bytes]]:
    commands = tomllib.loads((_FIXTURES / "lint_corpus/commands.toml").read_text(encoding="utf-8"))
    texts = [text for entry in commands.get("command", ()) if isinstance(text := entry.get("command"), str)]
    for number, text in enumerate(texts[:40]):
        yield "options", f"command-{number:02d}", "\0".join(shlex.split(text, comments=True)).encode()
    ini = "llama-server\0-m\0x.gguf\0LLAMA_ARG_CTX_SIZE=4096\1[*]\nctx-size = 1024\nmodel: a\nlist:\n  - b\n"
    yield "options", "variables-and-file", ini.encode()
    toml = (
        'interval = 2\n[[servers]]\nurl = "http://h:1"\napi_key_env = "K"\n[lint]\nsuppress = []\n[keys]\nquit = "q"\n'
    )
    yield "configuration", "all", toml.encode()
    for path in sorted((HERE.parents[1] / "themes").glob("*.toml"))[:3]:
        yield "theme", path.stem, path.read_bytes()
    yield "web_configuration", "both", _WEB


def main() -> None:
    """Write the seeds."""
    for reader, name, content in seeds():
        path = CORPUS / reader / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    main()
