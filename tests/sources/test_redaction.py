"""What must never enter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvtop.sources.redaction import TEXT_LIMIT, allowed_environment, clean, masked_argv


@pytest.mark.parametrize(
    "words",
    [
        ("--api-key", "canary"),
        ("--api_key", "canary"),
        ("--api-key=canary",),
        ("--api-k", "canary"),
        ("--api-key", "canary", "canary", "canary"),
        ("--hf-token", "canary"),
        ("-hft", "canary"),
        ("--kv-transfer-config", '{"password": "canary"}'),
        ("--model", "https://user:canary@host/x"),
        ("--url", "https://host/x?token=canary"),
        ("--model", "/models/hf_canarycanarycanary/x"),
        ("--api-key-file", "canary"),
        ("--ssl-key-file", "canary"),
        ("--system-prompt", "canary"),
    ],
)
def test_secret_values_are_masked(words: tuple[str, ...]) -> None:
    shown = masked_argv(("server", *words, "--port", "8080"))
    assert "canary" not in " ".join(shown)
    assert shown[-2:] == ("--port", "8080")


def test_ordinary_words_stay() -> None:
    argv = ("llama-server", "-m", "/models/x.gguf", "-c", "4096", "-ngl", "-1", "--temp", "0.7")
    assert masked_argv(argv) == argv


def test_environment_is_an_allowlist() -> None:
    environ = {
        "LLAMA_ARG_CTX_SIZE": "4096",
        "CUDA_VISIBLE_DEVICES": "0",
        "LLAMA_API_KEY": "canary",
        "LLAMA_ARG_API_KEY_FILE": "canary",
        "HF_TOKEN": "canary",
        "AWS_SECRET_ACCESS_KEY": "canary",
        "ANYTHING": "canary",
    }
    assert allowed_environment(environ) == (("CUDA_VISIBLE_DEVICES", "0"), ("LLAMA_ARG_CTX_SIZE", "4096"))


@given(st.text())
def test_clean_text_can_be_drawn(text: str) -> None:
    shown = clean(text)
    assert len(shown) <= TEXT_LIMIT
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in shown)
    assert not set(shown) & set("\u202e\u2066\u200b\ufeff")
    shown.encode("utf-8")
