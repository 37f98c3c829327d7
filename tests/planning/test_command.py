"""Which engine a command line starts."""

import pytest

from kvtop.planning.command import Command, parse_command, typed_words


@pytest.mark.parametrize(
    ("text", "engine", "first"),
    [
        ("llama-server -m x", "llama.cpp", "-m"),
        ("./build/bin/llama-server -m x", "llama.cpp", "-m"),
        ("/opt/llama-server-b11434 -m x", "llama.cpp", "-m"),
        ("vllm serve ./model", "vllm", "./model"),
        ("/venv/bin/vllm serve ./model", "vllm", "./model"),
        ("python -m vllm.entrypoints.openai.api_server --model m", "vllm", "--model"),
        ("python3.12 -m vllm.entrypoints.cli.main serve m", "vllm", "m"),
        ("/usr/bin/python3 /usr/local/bin/vllm serve m", "vllm", "m"),
        ("python3 -u -X dev -m vllm.entrypoints.openai.api_server --model m", "vllm", "--model"),
        ("python3 -B /venv/bin/vllm serve m", "vllm", "m"),
        ("mlx_lm.server --model m", "mlx", "--model"),
        ("mlx_lm server --model m", "mlx", "--model"),
        ("python -m mlx_lm.server --model m", "mlx", "--model"),
        ("python -m mlx_lm server --model m", "mlx", "--model"),
        ("python3 -u -X dev -m mlx_lm.server --model m", "mlx", "--model"),
        ("/L/Python.app/Contents/MacOS/Python -I /venv/bin/mlx_lm.server --model m", "mlx", "--model"),
    ],
)
def test_every_way_to_start_a_server(text: str, engine: str, first: str) -> None:
    command = parse_command(text.split())
    assert (command.engine, command.words[0], command.variables) == (engine, first, ())
    assert command.program == text.split(maxsplit=1)[0]


def test_variables_in_front_are_kept() -> None:
    words = ["env", "CUDA_VISIBLE_DEVICES=1", "LLAMA_ARG_CTX_SIZE=", "llama-server", "-m", "a=b"]
    assert parse_command(words) == Command(
        "llama.cpp", ("-m", "a=b"), (("CUDA_VISIBLE_DEVICES", "1"), ("LLAMA_ARG_CTX_SIZE", "")), "llama-server"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ollama serve",
        "vllm bench",
        "python -m http.server",
        "python server.py",
        "python -u",
        "python -X",
        "llama-cli -m x",
        "A=b",
    ],
)
def test_anything_else_names_what_is_understood(text: str) -> None:
    with pytest.raises(ValueError, match="llama-server") as caught:
        parse_command(text.split())
    assert "mlx_lm" in str(caught.value)


def test_a_command_in_quotes_is_split_as_a_shell_would() -> None:
    assert typed_words(["llama-server -m 'a b.gguf' \\\n -c 1"]) == ["llama-server", "-m", "a b.gguf", "-c", "1"]
    assert typed_words(["llama-server", "-m", "a b.gguf"]) == ["llama-server", "-m", "a b.gguf"]
    assert typed_words(["vllm serve m # why"], with_comments=True) == ["vllm", "serve", "m"]
    with pytest.raises(ValueError, match="the command in quotes: No closing quotation: llama-server -m 'm"):
        typed_words(["llama-server -m 'm"])
