"""Numbers to words: bounded width, unknown is "?", and what is written can be read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvtop.text import (
    bytes_text,
    did_you_mean,
    duration_text,
    parse_bytes,
    parse_tokens,
    rate_text,
    ratio_text,
    tokens_text,
)


@given(st.integers(0, 2**59))
def test_bytes_take_eight_columns_and_read_back_within_a_per_cent(size: int) -> None:
    text = bytes_text(size)
    assert len(text) <= 8
    assert abs(parse_bytes(text) - size) <= size / 100


@given(st.integers(1, 2**59))
def test_negative_bytes_mirror_positive_ones(size: int) -> None:
    assert bytes_text(-size) == f"-{bytes_text(size)}"


@given(st.integers(0, 2**40))
def test_tokens_read_back_within_five_per_cent(tokens: int) -> None:
    assert abs(parse_tokens(tokens_text(tokens)) - tokens) <= tokens / 20


def test_unknown_is_never_zero() -> None:
    assert {bytes_text(None), tokens_text(None), ratio_text(None), rate_text(None), duration_text(None)} == {"?"}


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (235 << 20, "235 MiB"), (1 << 30, "1.00 GiB")],
)
def test_bytes(size: int, text: str) -> None:
    assert bytes_text(size) == text


@pytest.mark.parametrize(
    ("tokens", "text"), [(512, "512"), (4096, "4k"), (32768, "32k"), (10752, "10.5k"), (1 << 20, "1M")]
)
def test_tokens(tokens: int, text: str) -> None:
    assert tokens_text(tokens) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [("24GiB", 24 << 30), ("24G", 24 << 30), ("80GB", 80 * 10**9), ("512", 512), ("0.5k", 512), (" 1 MiB ", 1 << 20)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@given(st.text(max_size=8))
def test_a_text_is_a_size_or_a_value_error(text: str) -> None:
    for parse in (parse_bytes, parse_tokens):
        try:
            assert parse(text) >= 0
        except ValueError as error:
            assert "accepted" in str(error)  # noqa: PT017  both outcomes are right; each is checked


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (59.9, "59s"), (60, "1m"), (7200, "2h"), (86400 * 5, "5d")])
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("--sarf", "; did you mean --sarif?"),
        ("--SARIF", "; did you mean --sarif?"),
        ("--ver", "; did you mean --version?"),
        ("--json", ""),
        ("x", ""),
        ("", ""),
    ],
)
def test_the_word_that_was_probably_meant(word: str, meant: str) -> None:
    assert did_you_mean(word, ["--sarif", "--version", "-V", "--url"]) == meant
