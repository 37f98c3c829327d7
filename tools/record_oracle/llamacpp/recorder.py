"""Record llama.cpp's fixtures: build the driver, write the models, ask everything, write what it says."""

import tempfile
from pathlib import Path

from tools.record_oracle import canonical
from tools.record_oracle.llamacpp.build import build_driver
from tools.record_oracle.llamacpp.fixtures import FIXTURES, Fixture
from tools.record_oracle.llamacpp.gguf_file import write_gguf
from tools.record_oracle.llamacpp.questions import ask

NEWEST = "b11434"
"""The build whose fixtures hold the models and cases. Another build answers the same cases, in a folder of its own."""


def record(version: str, fixtures: Path, only: tuple[str, ...], every: int, jobs: int) -> list[Path]:
    """Write the fixtures of a build anew. `only` names some of them; `fixtures` is the folder of all engines' fixtures.

    Returns the files whose bytes changed.
    """
    driver = build_driver(version, jobs)
    changed = []
    for fixture in FIXTURES:
        if only and fixture.name not in only:
            continue
        print(f"asking {fixture.name}", flush=True)
        cases = canonical.thinned(canonical.read(path_of(fixture.name, NEWEST, fixtures)), every)
        path, recorded = _recorded(fixture, version, driver, fixtures, cases)
        if canonical.keep(path, recorded, cases if version == NEWEST and every > 1 else None):
            changed.append(path)
    return changed


def _recorded(
    fixture: Fixture, version: str, driver: Path, folder: Path, cases: canonical.Recorded
) -> tuple[Path, canonical.Recorded]:
    with tempfile.TemporaryDirectory(prefix="kvtop-record-") as models:
        for source in fixture.models:
            for name, model in canonical.read(path_of(source, NEWEST, folder))["models"].items():
                write_gguf(Path(models) / f"{name}.gguf", model if version == NEWEST else without_vocabulary(model))
        answers = ask(driver, Path(models), fixture.questions(cases))
    recorded = fixture.answered(cases, answers)
    if version != NEWEST:  # the models stand in the newest build's file
        recorded = {key: value for key, value in recorded.items() if key not in {"models", "meta"}}
    return path_of(fixture.name, version, folder), recorded


def without_vocabulary(model: canonical.Recorded) -> canonical.Recorded:
    """A model that an older build reads too: the tokenizer of llama.cpp's architecture test is a newer invention."""
    if model["kv"].get("tokenizer.ggml.model", [None, None])[1] != "test":
        return model
    words = ("model", "tokens", "scores", "token_type", "merges")
    dropped = {f"tokenizer.ggml.{word}" for word in words}
    kept = {key: value for key, value in model["kv"].items() if key not in dropped}
    return {**model, "kv": kept | {"tokenizer.ggml.model": ["str", "no_vocab"]}}


def path_of(name: str, version: str, folder: Path) -> Path:
    """Where a build's fixture lies. `folder` is that of the oracle's fixtures; fits lie beside it."""
    if name == "fit":
        return folder.parent / "fit" / f"{version}.json.gz"
    return folder / ("" if version == NEWEST else f"llama.cpp/{version}") / f"{name}.json.gz"
