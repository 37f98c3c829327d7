"""Two hundred secrets in a deployment of every engine: no document, message, recording, metric or screen shows one."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvtop.sources.recordings.reader import Recording
from kvtop.views.export.snapshot.formats import FORMATS
from tests.deployment import Deployment, deployed, unmasked
from tests.terminal import on_terminal

ROOT = Path(__file__).parents[1]
KVTOP = [sys.executable, "-m", "kvtop"]


class Shown:
    """What kvtop writes of a deployment."""

    def __init__(self, deployment: Deployment, environ: dict[str, str], folder: Path) -> None:
        self.deployment, self.environ, self.folder = deployment, environ, folder

    def run(self, *words: str) -> bytes:
        done = subprocess.run(
            [*KVTOP, *words], env=self.environ, capture_output=True, timeout=240, check=False, cwd=self.folder
        )
        assert b"internal error" not in done.stderr, done.stderr
        return done.stdout + done.stderr

    def check(self, outputs: dict[str, bytes]) -> None:
        assert all(outputs.values()), [name for name, content in outputs.items() if not content]
        assert unmasked(self.deployment, outputs) == {}


@pytest.fixture(scope="module")
def shown(
    tmp_path_factory: pytest.TempPathFactory, _standin_library: Callable[[tuple[str, ...]], Path]
) -> Iterator[Shown]:
    compiler = shutil.which("cc")
    if compiler is None or not Path("/proc/self/stat").exists():
        pytest.skip("processes are planted for /proc, with a C compiler")
    folder = tmp_path_factory.mktemp("canaries")
    scenario = folder / "scenario"
    with deployed(folder, compiler) as deployment:
        rows = [f"process gpu0 compute {pid} 104857600\n" for pid in (*deployment.pids, *deployment.foreign)]
        scenario.write_text("device gpu0\ntotal gpu0 25769803776\nused gpu0 2147483648\n" + "".join(rows))
        environ = {**os.environ, **deployment.own, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "state")}
        environ |= {"LD_LIBRARY_PATH": str(_standin_library(()).parent), "STANDIN_NVML_SCENARIO": str(scenario)}
        yield Shown(deployment, environ, folder)


def test_the_list_is_as_long_as_it_says(shown: Shown) -> None:
    assert len(shown.deployment.hidden) >= 200
    assert len(set(shown.deployment.hidden.values())) == len(shown.deployment.hidden)


@pytest.mark.parametrize("name", FORMATS)
def test_no_document(shown: Shown, name: str) -> None:
    address, refused = shown.deployment.urls
    content = shown.run("snapshot", "--format", name, *(("--url", address) if name == "json" else ()))
    shown.check({name: content})
    if name == "json":
        shown.check({"bad URL": shown.run("snapshot", "--json", "--url", refused)})
        expected = {"vllm model", "sglang model", "tgi model", "kobold model", "mlx model", "model in yaml"}
        seen = {place for word, place in shown.deployment.shown.items() if word.encode() in content}
        assert expected - seen == set(), "the servers were found, and their models named"


def test_no_check(shown: Shown) -> None:
    runs = (["lint"], ["lint", "--json"], ["lint", "--sarif"], ["doctor"], ["doctor", "--json"], ["config"])
    shown.check({" ".join(words): shown.run(*words) for words in runs})
    shown.check({"anonymized": shown.run("snapshot", "--json", "--anonymize")})


def test_no_answer_to_a_typed_command(shown: Shown) -> None:
    shown.check({name: shown.run(*words) for name, words in shown.deployment.commands.items()})


def test_no_recording_and_no_report(shown: Shown) -> None:
    recording, report = shown.folder / "o.kvtop", shown.folder / "o.zip"
    outputs = {
        "record": shown.run("record", str(recording), "--duration", "4s", "--interval", "0.5"),
        "report": shown.run("report", "-o", str(report), "--seconds", "2"),
        "replay": shown.run("replay", str(recording), "--format", "html"),
        "diff": shown.run("diff", str(recording), "live", "--all"),
    }
    opened = Recording(recording)
    outputs["decoded"] = repr([opened.sample(index) for index in range(len(opened))]).encode()
    outputs["models"] = repr(opened._models).encode()
    with zipfile.ZipFile(report) as archive:
        outputs["archive"] = b"".join(archive.read(name) for name in archive.namelist())
    assert len(opened.sample(len(opened) - 1).servers) >= len(shown.deployment.pids) - 1
    shown.check(outputs)


def test_no_metric(shown: Shown) -> None:
    words = [*KVTOP, "exporter", "--listen", "127.0.0.1:0", "--interval", "0.5"]
    exporter = subprocess.Popen(words, env=shown.environ, stderr=subprocess.PIPE)
    assert exporter.stderr is not None
    url = re.search(rb"http://\S+", exporter.stderr.readline())
    assert url is not None
    page, ends = b"", time.monotonic() + 120
    while b"kvtop_server_info" not in page and time.monotonic() < ends:
        try:
            with urllib.request.urlopen(url[0].decode(), timeout=60) as answer:
                page = answer.read()
        except urllib.error.HTTPError as not_yet:
            not_yet.close()
            time.sleep(0.2)
    exporter.send_signal(signal.SIGTERM)
    rest = exporter.communicate(timeout=120)[1]
    assert b"kvtop_server_info" in page
    shown.check({"page": page + rest})


def test_no_screen(shown: Shown) -> None:
    drawn = b""
    with on_terminal(KVTOP, 200, 60, cwd=ROOT, environ=shown.environ) as terminal:
        terminal.read_until_shown("vLLM", "llama.cpp")
        for keys in (b"2", b"d", b"\x1b", b"j", b"2", b"1", b"j", b"j", b"2", b"1", b"5", b"6", b"8", b"1", b"G", b"2"):
            terminal.type(keys)
            drawn += terminal.read(1.0)
            drawn += terminal.shown().encode()
    assert len(drawn) > 20_000
    shown.check({"screens": drawn})


def test_no_line_of_the_accessible_mode(shown: Shown) -> None:
    process = subprocess.Popen(
        [*KVTOP, "--accessible"], env=shown.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    lines = b"".join(process.stdout.readline() for _ in range(5))
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    shown.check({"lines": lines + process.communicate(timeout=60)[0]})
