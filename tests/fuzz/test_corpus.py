"""The corpus of the fuzzers, and some thousand mutations of it, in every run: no crash, no hang, no heap of memory."""

import random
from pathlib import Path

import pytest

from tests.fuzz.corpus import CORPUS, seeds
from tests.fuzz.limits import LimitError, read_within_limits
from tests.fuzz.readers import READERS

MUTATIONS = 150
_WORDS = (
    *(b"\0", b"\xff" * 8, b"9" * 400, b"-1", b"1e400", b"NaN", b"null", b"\x1b[31m", b"%s"),
    *(b"[" * 500, b'{"a":' * 50),
)


def inputs(name: str) -> list[Path]:
    return sorted((CORPUS / name).iterdir())


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One of the ways in which fuzzers change an input."""
    at, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    kind = chance.randrange(5)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + chance.choice(_WORDS) + data[end:]
    if kind == 2:
        return data[:at] + data[at:end] * 3 + data[end:]
    if kind == 3:
        return data[:at] + chance.choice(_WORDS) + data[at:]
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        if changed:
            changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("name", READERS)
def test_every_reader_has_a_corpus_and_lives_through_it(name: str) -> None:
    assert inputs(name)
    for path in inputs(name):
        read_within_limits(name, path.read_bytes())


@pytest.mark.parametrize("name", READERS)
def test_every_reader_lives_through_changes_of_it(name: str) -> None:
    chance = random.Random(name)
    whole = [path.read_bytes() for path in inputs(name)]
    for number in range(MUTATIONS):
        data = mutated(chance.choice(whole), chance)
        try:
            read_within_limits(name, data)
        except Exception as error:
            raise AssertionError(f"mutation {number}: {data[:400]!r}") from error


def test_the_limits_are_kept_watch_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(data: bytes) -> None:
        raise KeyError(data)

    monkeypatch.setattr("tests.fuzz.limits.MOST_SECONDS", -1.0)
    with pytest.raises(LimitError, match=" s for"):
        read_within_limits("prometheus", b"a 1\n")
    monkeypatch.undo()
    monkeypatch.setitem(READERS, "prometheus", (wrong, ()))
    with pytest.raises(KeyError):
        read_within_limits("prometheus", b"x")


def test_the_corpus_begins_with_whole_inputs() -> None:
    for reader, name, content in seeds():
        if reader in {"gguf", "safetensors", "options", "configuration", "theme", "prometheus", "series"}:
            assert (CORPUS / reader / name).read_bytes() == content, "python -m tests.fuzz.corpus"
