"""The deployment of tests/fixtures/canaries: real processes with a canary in every place that can hold a secret."""

import os
import re
import shutil
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.models.tiny_gguf import write_tiny_gguf

HERE = Path(__file__).parent
PLACES = HERE / "fixtures/canaries/deployment.toml"
_MARK = re.compile(r"(CANARY|SHOWN)\(([^)]*)\)")


@dataclass
class Deployment:
    """Processes that run. `hidden` and `shown` are the words that were planted, with their places."""

    here: Path
    hidden: dict[str, str] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    pids: list[int] = field(default_factory=list)
    foreign: list[int] = field(default_factory=list)
    own: dict[str, str] = field(default_factory=dict)
    urls: list[str] = field(default_factory=list)
    commands: dict[str, list[str]] = field(default_factory=dict)

    def planted(self, text: str, port: int = 0) -> str:
        """The text with a word for each mark, the same word for the same place."""

        def word(match: re.Match[str]) -> str:
            words = self.hidden if match[1] == "CANARY" else self.shown
            known = next((word for word, place in words.items() if place == match[2]), None)
            # Letters alone, so that no rule for tokens or numbers hides it by chance.
            new = known or f"{match[1].title()}Word{_letters(len(self.hidden) + len(self.shown))}"
            words[new] = match[2]
            return new

        return _MARK.sub(word, text).replace("{port}", str(port)).replace("{here}", str(self.here))


def _letters(number: int) -> str:
    return "".join(chr(ord("a") + (number // 26**place) % 26) for place in (2, 1, 0)) + "q"


@contextmanager
def deployed(folder: Path, compiler: str) -> Iterator[Deployment]:
    """Everything that the list names, running."""
    places = tomllib.loads(PLACES.read_text(encoding="utf-8"))
    it = Deployment(folder)
    program = folder / "programs/standin"
    program.parent.mkdir()
    source = HERE / "standin_server/standin_server.c"
    subprocess.run([compiler, "-O1", "-o", str(program), str(source)], check=True)
    for name, text in places["files"].items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(it.planted(text), encoding="utf-8")
    for name, answers in places["replies"].items():
        (folder / name).mkdir()
        for path, text in answers.items():
            (folder / name / path).write_text(it.planted(text), encoding="utf-8")
    write_tiny_gguf(folder / "model.gguf", {key: it.planted(text) for key, text in places["metadata"].items()})
    config = folder / "config/kvtop/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(it.planted(places["own_config"]["text"]), encoding="utf-8")
    it.own = {name: it.planted(text) for name, text in places["own"].items()} | {
        "XDG_CONFIG_HOME": str(folder / "config")
    }
    it.urls = [it.planted(url) for url in places["urls"]["words"]]
    it.commands = {name: [it.planted(word) for word in words] for name, words in places["commands"].items()}
    running: list[subprocess.Popen[bytes]] = []
    try:
        for entry in places["process"]:
            running.append(_started(it, entry, program))
            (it.foreign if entry.get("is_foreign") else it.pids).append(running[-1].pid)
        yield it
    finally:
        for process in running:
            process.kill()
            process.wait()


def _started(it: Deployment, entry: Mapping[str, object], program: Path) -> "subprocess.Popen[bytes]":
    own = program.with_name(str(entry["program"]))
    if not own.exists():
        shutil.copy(program, own)
    words, environ = entry["words"], entry.get("environ", {})
    assert isinstance(words, list)
    assert isinstance(environ, dict)
    for _ in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        variables = {name: it.planted(text, port) for name, text in environ.items()}
        variables |= {"PATH": os.environ["PATH"], "STANDIN_REPLIES": str(it.here / str(entry.get("replies", "none")))}
        argv = [it.planted(word, port) for word in words]
        process = subprocess.Popen(argv, executable=str(own), env=variables, cwd=it.here, stderr=subprocess.DEVNULL)
        time.sleep(0.05)
        if process.poll() is None:
            return process
    raise AssertionError(f"{entry['program']} does not run")


def unmasked(deployment: Deployment, outputs: Mapping[str, bytes]) -> dict[str, set[str]]:
    """Places of canaries that were seen, with the outputs that show them."""
    seen: dict[str, set[str]] = {}
    for output, content in outputs.items():
        for word in set(re.findall(rb"CanaryWord[a-z]{3}q", content)):
            seen.setdefault(deployment.hidden[word.decode()], set()).add(output)
    return seen
