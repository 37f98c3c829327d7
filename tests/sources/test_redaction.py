"""What must never enter."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvtop.sources.redaction.redact import (
    SET,
    TEXT_LIMIT,
    allowed_environment,
    clean,
    clean_value,
    masked_argv,
    masked_stranger,
)


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
        ("--api-key", "-canary1,canary2", "canary3"),
        ("--admin-api-key", "--canary"),
        ("--api-k=canary",),
        ("--API_KEY", "canary"),
        ("-p", "canary words canary"),
        ("-sys", "canary"),
        ("--prompt", "canary"),
        ("--adminpassword", "canary"),
        ("--hordekey", "canary"),
        ("--ngrok-authtoken", "canary"),
        ("--gradio-auth", "user:canary"),
        ("--otlp-traces-endpoint", "http://canary/"),
        ("--otlp-headers", "x=canary"),
        ("--model-loader-extra-config", '{"a": "canary"}'),
        ("--additional-config={'a': 'canary'}",),
        ("--hf-overrides", '{"a": {"token": "canary", "b": ["canary"]}}'),
        ("--speculative-config", '{"model": "https://u:canary@host/x", "api_key": "canary"}'),
        ("--allowed-origins", '["https://canary"]'),
        ("--ssl-keyfile", "/canary/key.pem"),
        ("--ssl-certfile", "canary"),
        ("--header", "X-Auth: canary"),
        ("--a-flag-of-tomorrow", "canary", "canary"),
        ("--a-flag-of-tomorrow=canary",),
        ("--model", "https://user:can/canary@host/x"),
        ("--model", "s3://b/x?X-Amz-Signature=canary&X-Amz-Credential=canary"),
        ("--model", "/m/eyJcanary.canary.canary/x"),
        ("--alias", "-----BEGIN RSA PRIVATE KEY----- canary -----END RSA PRIVATE KEY-----"),
        ("--alias", "AbCdEfGh01canaryAbCdEfGh01canaryAbCdEfGh"),
        ("--alias", "sk-proj-canarycanary"),
        ("--alias", "nvapi-canarycanary"),
        ("--alias", "ghp_canarycanarycanary"),
        ("--alias", "glpat-canarycanarycanary"),
        ("--alias", "Authorization: Bearer canarycanary"),
    ],
)
def test_secret_values_are_masked(words: tuple[str, ...]) -> None:
    shown = masked_argv(("server", *words, "--port", "8080"))
    assert "canary" not in " ".join(shown)
    assert shown[-2:] == ("--port", "8080")


def test_ordinary_words_stay() -> None:
    argv = ("llama-server", "-m", "/models/x.gguf", "-c", "4096", "-ngl", "-1", "--temp", "0.7", "--mlock")
    assert masked_argv(argv) == argv
    vllm = ("vllm", "serve", "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8", "--kv-cache-dtype", "fp8", "-tp", "8")
    assert masked_argv(vllm) == vllm
    ollama = ("llama-server", "--model", "/blobs/sha256-" + "0a1b2c3d" * 8, "--no-webui", "--max-tokens", "10")
    assert masked_argv(ollama) == ollama


def test_an_unlisted_flag_keeps_its_name_and_numbers() -> None:
    shown = masked_argv(("server", "--new-thing", "words", "--other", "12", "--switch", "--third=on"))
    assert shown == ("server", "--new-thing", "***", "--other", "12", "--switch", "--third=on")


@pytest.mark.parametrize("word", ["-pCANARY", "-hftCANARY1", "-u:canary", "-Dkey=canary", "-p=canary"])
def test_what_is_glued_to_a_flag_is_masked(word: str) -> None:
    shown = masked_argv(("server", word, "--port", "8080"))
    assert "canary" not in " ".join(shown).lower()
    assert shown[1].startswith(word[:2])


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("python", "train.py", "canary", "-u", "user:canary"), ("python", "train.py", "***", "-u", "***")),
        (("python3", "-m", "torch.run", "canary", "--lr", "0.1"), ("python3", "-m", "torch.run", "***", "--lr", "0.1")),
        (("ffmpeg", "canary", "-i", "canary", "12"), ("ffmpeg", "***", "-i", "***", "12")),
        (("mysql", "PASSWORD=canary", "postgres://a:canary@h/db"), ("mysql", "***", "***")),
        (("trainer", "--model=canary", "--batch=8"), ("trainer", "--model=***", "--batch=8")),
    ],
)
def test_of_a_program_that_is_no_server_its_name_is_shown(words: tuple[str, ...], shown: tuple[str, ...]) -> None:
    assert masked_stranger(words) == shown


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("grammar", "canary", "***"),
        ("middleware", "canary", "***"),
        ("rpc", "u:canary@host:1", "***"),
        ("option-of-tomorrow", '{"a": "canary"}', "***"),
        ("option-of-tomorrow", "12,0.5,on", "12,0.5,on"),
        ("override-kv", "k=str:canary,x=int:7", "k=str:***,x=int:7"),
        ("override-kv", "general.architecture=str:llama", "general.architecture=str:llama"),
        ("model", "https://host/m.gguf?code=canary", "https://host/m.gguf?***"),
        ("cache-type-k", "q8_0", "q8_0"),
    ],
)
def test_the_text_of_an_option_stays_where_a_rule_or_a_name_is_known_to_need_it(
    name: str, value: str, shown: str
) -> None:
    assert clean_value(name, value) == shown


def test_variables_of_options_follow_their_options() -> None:
    environ = {"LLAMA_ARG_MODEL": "m.gguf", "LLAMA_ARG_API_PREFIX": "/canary", "GGML_X": "canary", "GGML_N": "4"}
    assert dict(allowed_environment(environ)) == {
        "LLAMA_ARG_MODEL": "m.gguf",
        "LLAMA_ARG_API_PREFIX": "***",
        "GGML_X": "***",
        "GGML_N": "4",
    }


def test_environment_is_an_allowlist() -> None:
    environ = {
        "LLAMA_ARG_CTX_SIZE": "4096",
        "CUDA_VISIBLE_DEVICES": "0",
        "LLAMA_API_KEY": "canary",
        "LLAMA_ARG_API_KEY_FILE": "canary",
        "HF_TOKEN": "canary",
        "AWS_SECRET_ACCESS_KEY": "canary",
        "OLLAMA_KV_CACHE_TYPE": "q8_0",
        "OLLAMA_API_KEY": "canary",
        "VLLM_API_KEY": "canary",
        "HTTPS_PROXY": "http://u:canary@proxy",
        "LLAMA_ARG_HF_TOKEN": "canary",
        "OTEL_EXPORTER_OTLP_HEADERS": "canary",
        "SGLANG_ADMIN_KEY": "canary",
        "GGML_SECRET": "canary",
        "ANYTHING": "canary",
    }
    assert allowed_environment(environ) == (
        ("CUDA_VISIBLE_DEVICES", "0"),
        ("HF_TOKEN", SET),
        ("LLAMA_API_KEY", SET),
        ("LLAMA_ARG_CTX_SIZE", "4096"),
        ("OLLAMA_API_KEY", SET),
        ("OLLAMA_KV_CACHE_TYPE", "q8_0"),
        ("VLLM_API_KEY", SET),
    )


def test_an_empty_secret_is_none() -> None:
    assert allowed_environment({"VLLM_API_KEY": "", "HF_HOME": "/cache"}) == (("HF_HOME", "/cache"),)


@given(st.text())
def test_clean_text_can_be_drawn(text: str) -> None:
    shown = clean(text)
    assert len(shown) <= TEXT_LIMIT
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in shown)
    assert not set(shown) & set("\u202e\u2066\u200b\ufeff")
    shown.encode("utf-8")


@pytest.mark.parametrize(
    "words",
    [
        ("sh", "-c", "vllm serve m --api-key canary"),
        ("bash", "-lc", "exec vllm serve m --api-key=canary"),
        ("vllm serve m --api-key canary --port 8000",),
        ("vllm serve m --api-key\ncanary",),
        ("x", "--api-key canary"),
        ("x", "--api-key:canary"),
        ("x", "--alias", "a --api-k canary canary"),
        ("python", "-c", "key='canary'"),
        ("sudo", "DB_PASS=canary", "vllm"),
        ("env", "PGPASSWORD=canary", "vllm"),
        ("x", "--hf-overrides", "canary"),
        ("x", "--speculative-config=canary"),
    ],
)
def test_words_that_hold_a_command_line_or_a_variable_are_looked_through(words: tuple[str, ...]) -> None:
    assert "canary" not in " ".join(masked_argv(words))


def test_harmless_words_with_blanks_and_numbers_stay() -> None:
    words = ("llama-server", "-m", "/models/my best model.gguf", "-c", "32768", "--alias", "two words", "-ngl", "99")
    assert masked_argv(words) == words
    title = ("vllm serve m --port 8000",)
    assert masked_argv(title) == title
    override = "tokenizer.ggml.add_bos_token=bool:false"
    assert clean_value("override-kv", override) == override


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password: canary", "password: ***"),
        ('{"api_key": "canary words"}', '{"api_key": ***}'),
        ("passwd=canary", "passwd=***"),
        ("COOKIE=canary;", "COOKIE=***"),
        ("get http://u:can/ary@h/x", "get http://***@h/x"),
        ("http://u:canary@h/ and http://v@h2/", "http://***@h/ and http://***@h2/"),
        ("http://h:8080/a@b http://[::1]:80/a@b", "http://h:8080/a@b http://[::1]:80/a@b"),
        ("npm_canarycanarycanary", "***"),
        ("dckr_pat_canarycanary", "***"),
        ("gsk_canarycanarycanary", "***"),
        ("xai-canarycanarycanary", "***"),
        ("SG.canarycanary.canarycanary", "***"),
        ("monkeys and tokens: 5", "monkeys and tokens: 5"),
    ],
)
def test_secrets_in_any_text(text: str, shown: str) -> None:
    assert clean(text) == shown


HOSTILE = ("a-", "a", "key", "a:", "://", "https://a:b", "eyJ", "bearer ", "x-amz-", "password:", "password ", "'", '"')


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_text_that_repeats_itself_takes_no_longer_than_another(piece: str) -> None:
    text = "https://" + piece * (60_000 // len(piece))
    began = time.process_time()
    clean(text)
    clean_value("model", text)
    masked_argv(["--alias", text])
    # A few milliseconds; before each was read once, it was minutes to hours.
    assert time.process_time() - began < 20
