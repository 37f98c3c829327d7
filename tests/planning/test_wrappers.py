"""What stands before a server's command is taken off, and its variables are kept."""

import pytest

from kvtop.planning.command import parse_command


@pytest.mark.parametrize(
    ("text", "engine", "words", "variables"),
    [
        ("sudo -u llm nohup ./llama-server -m a.gguf", "llama.cpp", ("-m", "a.gguf"), {}),
        ("numactl --interleave=all llama-server -m a.gguf", "llama.cpp", ("-m", "a.gguf"), {}),
        ("CUDA_VISIBLE_DEVICES=0 numactl -N 0 -m 0 llama-server", "llama.cpp", (), {"CUDA_VISIBLE_DEVICES": "0"}),
        ("taskset -c 0-7 llama-server -t 8", "llama.cpp", ("-t", "8"), {}),
        ("taskset 0xff llama-server -t 8", "llama.cpp", ("-t", "8"), {}),
        ("uv run --with vllm vllm serve x", "vllm", ("x",), {}),
        ("uv run vllm serve x", "vllm", ("x",), {}),
        (
            "docker run --rm -it --gpus all -e HF_HOME=/c -p 8000:8000 --ipc=host vllm/vllm-openai:latest --model x",
            "vllm",
            ("--model", "x"),
            {"HF_HOME": "/c"},
        ),
        (
            "docker run -d --name s --gpus all -v /m:/models ghcr.io/ggml-org/llama.cpp:server-cuda -m /models/a.gguf",
            "llama.cpp",
            ("-m", "/models/a.gguf"),
            {},
        ),
        ("podman run --rm registry/vllm-openai:v1 vllm serve x", "vllm", ("x",), {}),
    ],
)
def test_the_command_inside(text: str, engine: str, words: tuple[str, ...], variables: dict[str, str]) -> None:
    command = parse_command(text.split())
    assert (command.engine, command.words, dict(command.variables)) == (engine, words, variables)


@pytest.mark.parametrize("text", ["docker run --rm alpine sh", "docker ps", "sudo", "ssh host llama-server", "nice"])
def test_what_is_inside_something_else_is_not_guessed(text: str) -> None:
    with pytest.raises(ValueError, match="not a command"):
        parse_command(text.split())
