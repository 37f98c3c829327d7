"""Options of older builds: rewritten for the newest table, and left alone where the build still takes them."""

import pytest

from kvtop.planning.llamacpp.options.parse import parse_llama_server
from kvtop.planning.llamacpp.options.removed_options import _REPLACED, removed_words, rewritten
from kvtop.planning.llamacpp.options.table import BY_SPELLING


@pytest.mark.parametrize(
    ("typed", "now"),
    [
        (("--no-mmap",), ("--load-mode", "none")),
        (("--mlock",), ("--load-mode", "mlock")),
        (("--draft-max", "16"), ("--spec-draft-n-max", "16")),
        (("--spec-replace", "a", "b", "-c", "4096"), ("-c", "4096")),
        (("-m", "--mlock", "--no_clear_idle"), ("-m", "--mlock", "--no-cache-idle-slots")),
    ],
)
def test_a_removed_option_stands_for_what_it_meant(typed: tuple[str, ...], now: tuple[str, ...]) -> None:
    found = rewritten(typed, None)
    assert found.words == now
    assert found.removed
    assert parse_llama_server(found.words, {}, strict=True).errors == ()


def test_a_build_that_takes_it_is_left_alone_and_a_newer_one_is_not() -> None:
    words = ("-m", "x.gguf", "--no-mmap")
    assert rewritten(words, 10236).words == words
    newer = rewritten(words, 11434)
    assert newer.words == ("-m", "x.gguf", "--load-mode", "none")
    assert removed_words(newer.removed[0]) == "removed between b10566 and b11063"


def test_locked_and_not_mapped_are_one_mode_in_any_order() -> None:
    for words in (("--mlock", "--no-mmap"), ("--no-mmap", "--mlock")):
        found = rewritten(words, None)
        assert parse_llama_server(found.words, {}).value("load-mode") == "mlock"
        assert {it.now for it in found.removed} == {("--load-mode", "mlock")}


def test_every_replacement_is_an_option_of_the_newest_table() -> None:
    assert all(now[0] in BY_SPELLING for now in _REPLACED.values() if now)
