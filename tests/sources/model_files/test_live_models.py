"""Model files as running servers name them: their root, their environment, their deleted files."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from kvtop.domain.launch import LaunchOption, LaunchOptions, Origin
from kvtop.domain.model_file import Checkpoint, GgufHeader
from kvtop.domain.process import Container, Process
from kvtop.domain.server import ModelFacts, ServerReading, ServerState
from kvtop.sources.models.live_models import LiveModels, ModelKind, ModelRequest
from kvtop.sources.models.model_requests import model_requests
from kvtop.sources.processes.discovery import FoundProcess

Writer = Callable[..., bytes]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MAPPER = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
print(held[:4], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def gguf(gguf_bytes: Writer) -> Callable[[str], bytes]:
    return lambda name: gguf_bytes({"general.architecture": ("str", name)}, [("a", 0, (8,), 32)])


@pytest.fixture
def checkpoint(safetensors_bytes: Writer) -> Callable[[Path], Path]:
    def write(directory: Path) -> Path:
        directory.mkdir(parents=True)
        (directory / "config.json").write_text(json.dumps({"model_type": "llama"}))
        (directory / "model.safetensors").write_bytes(safetensors_bytes({"a": ("BF16", (4, 4), 32)}))
        return directory

    return write


@contextmanager
def mapping(path: Path) -> Iterator[int]:
    """A process that maps a file, as llama-server does with its model."""
    process = subprocess.Popen([sys.executable, "-c", MAPPER, str(path)], stdin=-1, stdout=-1)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def test_a_file_is_read_once_and_again_when_it_changed(tmp_path: Path, gguf: Callable[[str], bytes]) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf("llama"))
    models, request = LiveModels(), ModelRequest(str(path), None)
    key, first, failure = models.load(request)
    assert (key, failure) == (str(path), None)
    assert isinstance(first, GgufHeader)
    assert models.load(request)[1] is first
    path.write_bytes(gguf("gemma3"))
    second = models.load(request)[1]
    assert isinstance(second, GgufHeader)
    assert second.architecture == "gemma3"
    path.unlink()
    key, gone, failure = models.load(request)
    assert gone is None
    assert failure is not None
    assert "no such file" in failure.message
    assert "as the server sees it" in failure.remedy


def test_a_relative_path_and_all_parts_of_a_split_model(tmp_path: Path, gguf_bytes: Writer) -> None:
    for number in (1, 2):
        metadata: dict[str, tuple[str, object]] = {
            "split.no": ("u16", number - 1),
            "split.count": ("u16", 2),
            "split.tensors.count": ("i32", 2),
        }
        if number == 1:
            metadata["general.architecture"] = ("str", "llama")
        (tmp_path / f"m-0000{number}-of-00002.gguf").write_bytes(gguf_bytes(metadata, [(f"t{number}", 0, (8,), 32)]))
    request = ModelRequest("m-00001-of-00002.gguf", os.getpid(), str(tmp_path))
    _, header, failure = LiveModels().load(request)
    assert failure is None
    assert isinstance(header, GgufHeader)
    assert [tensor.name for tensor in header.tensors] == ["t1", "t2"]


def test_a_checkpoint_by_directory_and_by_the_servers_own_hub_cache(
    tmp_path: Path, checkpoint: Callable[[Path], Path]
) -> None:
    plain = checkpoint(tmp_path / "plain")
    cache = tmp_path / "cache/hub/models--org--name"
    checkpoint(cache / f"snapshots/{COMMIT}")
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text(COMMIT)
    models = LiveModels()
    for request in (
        ModelRequest(str(plain), None, kind=ModelKind.CHECKPOINT),
        ModelRequest("plain", os.getpid(), str(tmp_path), ModelKind.CHECKPOINT),
        ModelRequest("org/name", os.getpid(), "/", ModelKind.CHECKPOINT, (("HF_HOME", str(tmp_path / "cache")),)),
        ModelRequest("org/name", None, None, ModelKind.CHECKPOINT, download_directory=str(tmp_path / "cache/hub")),
    ):
        _, model, failure = models.load(request)
        assert failure is None
        assert isinstance(model, Checkpoint)
        assert model.tensor_bytes == 32
    elsewhere = ModelRequest("org/name", os.getpid(), "/", ModelKind.CHECKPOINT, (("HF_HOME", "/nowhere"),))
    _, model, failure = models.load(elsewhere)
    assert model is None
    assert failure is not None
    assert "/nowhere/hub/models--org--name" in failure.message


def test_a_checkpoint_is_read_again_when_a_shard_arrives(
    tmp_path: Path, checkpoint: Callable[[Path], Path], safetensors_bytes: Writer
) -> None:
    request = ModelRequest(str(checkpoint(tmp_path / "m")), None, kind=ModelKind.CHECKPOINT)
    models = LiveModels()
    first = models.load(request)[1]
    assert models.load(request)[1] is first
    (tmp_path / "m/more.safetensors").write_bytes(safetensors_bytes({"b": ("BF16", (4, 4), 32)}))
    second = models.load(request)[1]
    assert isinstance(second, Checkpoint)
    assert second.tensor_bytes == 64


def test_what_cannot_be_believed_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF\x03")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/config.json").write_text("[1]")
    for name, kind, words in (("m.gguf", ModelKind.FILE, "whole GGUF"), ("dir", ModelKind.CHECKPOINT, "config.json")):
        _, model, failure = LiveModels().load(ModelRequest(str(tmp_path / name), None, kind=kind))
        assert model is None
        assert failure is not None
        assert words in failure.remedy


def test_the_root_of_the_server_and_not_ours(tmp_path: Path, gguf: Callable[[str], bytes]) -> None:
    """A server in a file system of its own, made with unshare and pivot_root where this machine permits it."""
    root = tmp_path / "root"
    (root / "models").mkdir(parents=True)
    (root / "models/real.gguf").write_bytes(gguf("gemma3"))
    (root / "models/link.gguf").symlink_to("/models/real.gguf")  # absolute: means the server's /models
    (root / "bin").mkdir()
    script = f"""
set -e; PATH=$PATH:/usr/sbin:/sbin  # where chroot is, and an ordinary user does not look
mount --rbind {root} {root}; cd {root}; mkdir -p proc usr lib lib64 bin
for place in usr lib lib64 bin; do mount --rbind /$place {root}/$place; done
exec chroot {root} /bin/sleep 60
"""
    # An ordinary user has mounts of its own only together with a user namespace of its own.
    own = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
    said = tmp_path / "said"
    with said.open("wb") as sink:
        process = subprocess.Popen(["unshare", *own, "sh", "-c", script], stderr=sink)
    try:
        ends = time.monotonic() + 60
        while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
            if process.poll() is not None:
                pytest.skip(f"a root of its own is not permitted here: {said.read_text().strip()}")
            assert time.monotonic() < ends, said.read_text()
            time.sleep(0.02)
        for name in ("real", "link"):
            _, header, failure = LiveModels().load(ModelRequest(f"/models/{name}.gguf", process.pid, "/"))
            assert failure is None
            assert isinstance(header, GgufHeader)
            assert header.architecture == "gemma3"
        _, header, failure = LiveModels().load(ModelRequest(str(root / "models/real.gguf"), process.pid, "/"))
        assert header is None  # our own path of the same name is not the server's
        assert failure is not None
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("is_linked", [False, True])
def test_a_file_that_was_replaced_under_a_mapping(
    tmp_path: Path, gguf: Callable[[str], bytes], *, is_linked: bool
) -> None:
    """Behind a link too, as every model in a hub cache is: the kernel names the blob and not the link."""
    path = tmp_path / "blob" if is_linked else tmp_path / "m.gguf"
    path.write_bytes(gguf("llama"))
    if is_linked:
        (tmp_path / "m.gguf").symlink_to("blob")
    request = ModelRequest(str(tmp_path / "m.gguf"), None)
    with mapping(path) as pid:
        request = replace(request, pid=pid)
        path.unlink()
        deleted = LiveModels().load(request)
        path.write_bytes(gguf("gemma3"))
        replaced = LiveModels().load(request)
    for _, header, failure in (deleted, replaced):
        if header is None:
            assert failure is not None
            assert any(word in failure.message for word in ("no such file", "another one"))
        else:
            assert isinstance(header, GgufHeader)
            assert header.architecture == "llama"
    if os.getuid() == 0:
        assert deleted[1] is not None
        assert replaced[1] is not None


def test_a_file_newer_than_its_server_is_told(tmp_path: Path, checkpoint: Callable[[Path], Path]) -> None:
    path = checkpoint(tmp_path / "m")
    old = ModelRequest(str(path), os.getpid(), kind=ModelKind.CHECKPOINT, started_at=time.time() + 10)
    assert LiveModels().load(old)[2] is None
    _, model, failure = LiveModels().load(replace(old, started_at=time.time() - 60))
    assert model is not None
    assert failure is not None
    assert "since the server started" in failure.message


def reading(engine: str, path: str | None = None, **options: str) -> ServerReading:
    launch = LaunchOptions(
        engine, tuple(LaunchOption(name.replace("_", "-"), value, Origin.ARGV) for name, value in options.items())
    )
    return ServerReading("s", engine, ServerState.READY, pids=(7,), model=ModelFacts(path=path), launch=launch)


def found(environ: dict[str, str] | None, container: Container | None = None) -> FoundProcess:
    allowed = None if environ is None else ()
    process = Process(7, 1, "x", ("x",), cwd="/srv", environ=allowed, user="root", container=container, started_at=5.0)
    return FoundProcess(process, ("x",), environ or {})


def test_what_is_asked_for_llamacpp() -> None:
    ours = found({"HOME": "/h", "HF_HOME": "/hub", "HF_TOKEN": "canary"})
    main, draft = model_requests(reading("llama.cpp", "/m.gguf", model="/m.gguf", spec_draft_model="d.gguf"), ours)
    assert main is not None
    assert draft is not None
    assert (main.path, main.kind, main.pid, main.cwd) == ("/m.gguf", ModelKind.FILE, 7, "/srv")
    assert main.environ == (("HOME", "/h"), ("HF_HOME", "/hub"))
    assert "canary" not in repr(main)
    assert (draft.path, draft.kind) == ("d.gguf", ModelKind.FILE)
    main, draft = model_requests(reading("llama.cpp", hf_repo="u/r:Q8_0", hf_file="x.gguf", spec_draft_hf="u/d"), ours)
    assert main is not None
    assert draft is not None
    assert (main.path, main.kind, main.file) == ("u/r:Q8_0", ModelKind.HUB_FILE, "x.gguf")
    assert (draft.path, draft.kind, draft.file) == ("u/d", ModelKind.HUB_FILE, None)
    assert model_requests(reading("llama.cpp", "none"), ours) == (None, None)
    assert model_requests(ServerReading("s", "llama.cpp", ServerState.READY), None) == (None, None)


def test_what_is_asked_for_engines_of_checkpoints() -> None:
    main, draft = model_requests(reading("vllm", model="org/m", revision="v1", download_dir="/dl"), found(None))
    assert draft is None
    assert main is not None
    assert (main.kind, main.revision, main.download_directory) == (ModelKind.CHECKPOINT, "v1", "/dl")
    assert (main.environ, main.home) == (None, "/root")
    boxed = model_requests(reading("sglang", model_path="org/m"), found({}, Container("docker", "0" * 64)))[0]
    assert boxed is not None
    assert (boxed.path, boxed.is_contained, boxed.home, boxed.environ) == ("org/m", True, None, ())
    gguf_request = model_requests(reading("vllm", model="/m.gguf"), None)[0]
    assert gguf_request is not None
    assert (gguf_request.kind, gguf_request.pid) == (ModelKind.FILE, None)
    assert model_requests(reading("mlx"), found({})) == (None, None)


def test_files_of_servers_that_are_gone_are_let_go(gguf_bytes: Callable[..., bytes], tmp_path: Path) -> None:
    """A server that is started again and again has a new pid each time: 195 KiB leaked with each."""
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes({}))
    models = LiveModels()
    requests = [ModelRequest(str(path), None, started_at=float(number)) for number in range(3)]
    for request in requests:
        assert models.load(request)[1] is not None
    models.forget_all_but(requests[-1:])
    assert [request for _, request in models._read] == requests[-1:]
