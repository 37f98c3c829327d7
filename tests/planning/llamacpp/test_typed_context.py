"""A context that was typed with a unit."""

import pytest

from kvtop.planning.llamacpp.options.typed_context import meant_context_tokens, typed_context


@pytest.mark.parametrize(
    ("words", "environ", "typed"),
    [
        (("-m", "-c", "-c", "8k"), {}, "8k"),
        (("--ctx_size", "16384", "-c", "32K"), {}, "32K"),
        ((), {"LLAMA_ARG_CTX_SIZE": "4k"}, "4k"),
        (("-c", "2048"), {"LLAMA_ARG_CTX_SIZE": "4k"}, "2048"),
        (("-m", "x"), {}, ""),
        (("-c",), {}, ""),
    ],
)
def test_the_last_place_counts(words: tuple[str, ...], environ: dict[str, str], typed: str) -> None:
    assert typed_context(words, environ) == typed


@pytest.mark.parametrize(
    ("typed", "tokens"), [("8k", 8192), ("32K", 32768), ("1M", 1048576), ("8192", None), ("k", None), ("", None)]
)
def test_what_is_meant(typed: str, tokens: int | None) -> None:
    assert meant_context_tokens(typed) == tokens
