"""Ask a real server of one build every case, and keep the memory lines of its log."""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tools.record_oracle import canonical
from tools.record_oracle.llamacpp.gguf_file import write_gguf
from tools.record_oracle.llamacpp_wheels.cases import CASES, LAYERS, shortened
from tools.record_oracle.llamacpp_wheels.child import NO_SUCH_OPTION
from tools.record_oracle.llamacpp_wheels.wheels import installed

FOLDER = "llama_server"
FIXTURES = tuple(LAYERS)
"""What `--only` may name: a model. All of a build's answers are one file."""
_SOURCES = ("llamacpp", "llamacpp_more_models")
_SECONDS = 300.0
_MIB = re.compile(r"(KV|RS|compute|output) buffer size = *([\d.]+) MiB")
_CELLS = re.compile(r"\bn_ctx += (\d+)")
_CONTEXT = re.compile(r"llama_context: n_seq_max +=")
_REFUSAL = re.compile(r"error loading model: (.*)|llama_init_from_model: (.*)|(GGML_ASSERT\(.*)|(failed to .*)")


def record(version: str, fixtures: Path, only: tuple[str, ...], every: int, jobs: int) -> list[Path]:
    """Write `llama_server/BUILD.json.gz` anew. `only` names models. Returns the file if its bytes changed."""
    del jobs
    python, wheel = installed(version)
    rows: list[Any] = []
    with tempfile.TemporaryDirectory(prefix="kvtop-record-") as folder:
        for name, model in models(fixtures).items():
            write_gguf(Path(folder) / f"{name}.gguf", model)
        cases = [case for case in CASES if not only or case[0] in only][::every]
        for name, flags in cases:
            rows.append([name, flags, _asked(python, wheel, Path(folder) / f"{name}.gguf", flags)])
            print(f"{len(rows)} of {len(cases)}: {name} {flags}: {rows[-1][2]}", flush=True)
    path = fixtures / FOLDER / f"{version}.json.gz"
    path.parent.mkdir(exist_ok=True)
    return [path] if canonical.keep(path, {"rows": rows}, None) else []


def models(fixtures: Path) -> dict[str, Any]:
    """The models that are asked about, cut down to their first layers. `fixtures` holds the newest build's answers."""
    found = {}
    for source in _SOURCES:
        for name, model in canonical.read(fixtures / f"{source}.json.gz")["models"].items():
            if name in LAYERS:
                found[name] = shortened(model, LAYERS[name])
    return found


def _asked(python: Path, wheel: Path, model: Path, flags: str) -> Any:  # noqa: ANN401  amounts, a refusal, or nothing
    """Amounts in MiB as the log spells them, by kind; the refusal as a text; None: the build has no such option."""
    child = Path(__file__).with_name("child.py")
    command = [str(python), str(child), str(wheel), str(model), *flags.split()]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode == NO_SUCH_OPTION:
        return None
    if done.returncode:
        found = _REFUSAL.search(done.stdout)
        return "the server ended" if found is None else next(text for text in found.groups() if text)
    return amounts(done.stdout)


def amounts(log: str) -> dict[str, Any]:
    """The sums of the last context that a log tells of, and its cells."""
    start = max((match.start() for match in _CONTEXT.finditer(log)), default=0)
    sums: dict[str, Any] = {}
    for kind, amount in _MIB.findall(log[start:]):
        sums[kind] = round(sums.get(kind, 0.0) + float(amount), 2)
    cells = _CELLS.search(log[start:])
    return {**sums, "n_ctx": None if cells is None else int(cells[1])}
