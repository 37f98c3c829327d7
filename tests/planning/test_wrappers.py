"""What stands before a server's command is taken off, and its variables are kept."""

import pytest

from kvtop.planning.commands.command import parse_command
from kvtop.planning.commands.wrappers import unwrapped


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
            {"LLAMA_ARG_HOST": "0.0.0.0"},
        ),
        ("podman run -p8080:8080 -v/m:/m ggml-org/llama.cpp:full --server -m a", "llama.cpp", ("-m", "a"), {}),
        ("docker run -dit --entrypoint vllm any/image serve x", "vllm", ("x",), {}),
        (
            "docker container run -eA=b any/image python3 -m mlx_lm.server --model x",
            "mlx",
            ("--model", "x"),
            {"A": "b"},
        ),
        (
            "docker run -e VLLM_API_KEY -e HOME vllm/vllm-openai --model x",
            "vllm",
            ("--model", "x"),
            {"VLLM_API_KEY": "***"},
        ),
        ("/usr/bin/env -u A B=c llama-server -t 8", "llama.cpp", ("-t", "8"), {"B": "c"}),
        ("A=b exec nice -n 5 llama-server -t 8", "llama.cpp", ("-t", "8"), {"A": "b"}),
        ("time -p llama-server -t 8", "llama.cpp", ("-t", "8"), {}),
        ("srun --gres=gpu:1 llama-server -t 8", "llama.cpp", ("-t", "8"), {}),
        ("tini -- llama-server -t 8", "llama.cpp", ("-t", "8"), {}),
        ("gosu llm llama-server -t 8", "llama.cpp", ("-t", "8"), {}),
        ("runuser -u llm -- llama-server -t 8", "llama.cpp", ("-t", "8"), {}),
        ("ExecStart=-/usr/bin/llama-server -t 8", "llama.cpp", ("-t", "8"), {}),
        ("ExecStart= llama-server -t 8", "llama.cpp", ("-t", "8"), {}),
        ("podman run --rm registry/vllm-openai:v1 vllm serve x", "vllm", ("x",), {}),
    ],
)
def test_the_command_inside(text: str, engine: str, words: tuple[str, ...], variables: dict[str, str]) -> None:
    command = parse_command(text.split())
    assert (command.engine, command.words, dict(command.variables)) == (engine, words, variables)


@pytest.mark.parametrize(
    "text",
    [
        "docker run --rm alpine sh",
        "docker ps",
        "docker run -d",
        "docker run ggml-org/llama.cpp:full --run -m a",
        "sudo",
        "ssh host llama-server",
        "nice",
    ],
)
def test_what_is_inside_something_else_is_not_guessed(text: str) -> None:
    with pytest.raises(ValueError, match="not a command"):
        parse_command(text.split())


def test_a_shell_inside_is_opened() -> None:
    command = parse_command(["/bin/sh", "-ec", "A=b; exec llama-server -m 'x y.gguf' > log 2>&1"])
    assert (command.engine, command.words, command.variables) == ("llama.cpp", ("-m", "x y.gguf"), (("A", "b"),))
    with pytest.raises(ValueError, match="not a command"):
        parse_command(["bash", "-c", ""])


@pytest.mark.parametrize(
    ("options", "published", "env_files"),
    [
        ("-p 8000:8000 -p127.0.0.1:9:9", ("8000:8000", "127.0.0.1:9:9"), False),
        ("--publish=8000:8000 --env-file keys.env", ("8000:8000",), True),
        ("", (), False),
        ("--network host", None, False),
        ("--net=host", None, False),
        ("-P", None, False),
    ],
)
def test_who_reaches_a_container(options: str, published: tuple[str, ...] | None, env_files: bool) -> None:
    container = parse_command(f"docker run {options} vllm/vllm-openai:v1 --model x".split()).container
    assert container is not None
    assert (container.published, container.env_files) == (published, env_files)


@pytest.mark.parametrize(
    ("options", "path", "outside"),
    [
        (("-v", "/srv/models:/models:ro"), "/models/a/m.gguf", "/srv/models/a/m.gguf"),
        (("--volume=./models:/models",), "/models/m.gguf", "./models/m.gguf"),
        (("-v", "/a:/models", "-v", "/b:/models/big"), "/models/big/m.gguf", "/b/m.gguf"),
        (("-v", "/a/m.gguf:/m.gguf"), "/m.gguf", "/a/m.gguf"),
        (("--mount", "type=bind,source=/srv,target=/models,readonly"), "/models/m.gguf", "/srv/m.gguf"),
        (("-v", "volume:/models"), "/models/m.gguf", "/models/m.gguf"),
        (("-v", "/srv:/models"), "/modelsmore/m.gguf", "/modelsmore/m.gguf"),
    ],
)
def test_mounted_paths_are_known_outside(options: tuple[str, ...], path: str, outside: str) -> None:
    found = unwrapped(["docker", "run", *options, "ghcr.io/ggml-org/llama.cpp:server", "-m", path])
    assert found.container is not None
    assert found.container.outside(path) == outside
