"""Which engine a command line starts."""

import pytest

from kvtop.planning.commands.command import Command, parse_command, process_command, typed_words


@pytest.mark.parametrize(
    ("text", "engine", "first"),
    [
        ("llama-server -m x", "llama.cpp", "-m"),
        ("./build/bin/llama-server -m x", "llama.cpp", "-m"),
        ("/opt/llama-server-b11434 -m x", "llama.cpp", "-m"),
        ("llama serve -m x", "llama.cpp", "-m"),
        ("/opt/bin/llama server -m x", "llama.cpp", "-m"),
        ("vllm serve ./model", "vllm", "./model"),
        ("/venv/bin/vllm serve ./model", "vllm", "./model"),
        ("python -m vllm.entrypoints.openai.api_server --model m", "vllm", "--model"),
        ("python3.12 -m vllm.entrypoints.cli.main serve m", "vllm", "m"),
        ("/usr/bin/python3 /usr/local/bin/vllm serve m", "vllm", "m"),
        ("python3 -u -X dev -m vllm.entrypoints.openai.api_server --model m", "vllm", "--model"),
        ("python3 -B /venv/bin/vllm serve m", "vllm", "m"),
        ("ollama run llama3.2:3b", "ollama", "run"),
        ("/usr/local/bin/ollama serve", "ollama", "serve"),
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
        "ollama pull llama3.2",
        "ollama list",
        "vllm bench",
        "python -m http.server",
        "python server.py",
        "python -u",
        "python -X",
        "llama-cli -m x",
        "llama cli -m x",
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
    assert typed_words(["vllm serve m # why"]) == ["vllm", "serve", "m"]
    with pytest.raises(ValueError, match="the command in quotes: No closing quotation: llama-server -m 'm"):
        typed_words(["llama-server -m 'm"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nohup llama-server -c 8192 > out.log 2>&1 &", "nohup llama-server -c 8192"),
        ("llama-server -c 8192 2> e.log | tee log", "llama-server -c 8192"),
        ("cd /opt/llama && ./llama-server -c 8192", "./llama-server -c 8192"),
        ("export A=b\nllama-server -c ${CTX:-4096} -m $HOME/x.gguf", "A=b llama-server -c 4096 -m /root/x.gguf"),
        ("while true; do llama-server -c 1; sleep 5; done", "llama-server -c 1"),
        ('llama-server --alias "a #b" -c 1 # why', "llama-server --alias|a #b|-c 1"),
        ("llama-server -m '$X' --api-key $(cat key)", "llama-server -m $X --api-key|$(cat key)"),
        ('llama-server -ot "blk\\.(1|2)=CPU"', "llama-server -ot blk\\.(1|2)=CPU"),
        ("llama-server -c 8192 &>/dev/null", "llama-server -c 8192"),
        ('exec llama-server -c 8192 "$@"', "exec llama-server -c 8192"),
        ("llama-server -c 8192 $*", "llama-server -c 8192"),
    ],
)
def test_a_line_of_a_script_is_read_without_what_the_shell_takes(line: str, words: str) -> None:
    expected = [
        word for part in words.split("|") for word in ([part] if " #" in part or "$(" in part else part.split())
    ]
    if "(1|2)" in words:
        expected = words.split(" ")
    assert typed_words([line], {"HOME": "/root"}) == expected


def test_a_process_around_the_server_is_not_the_server() -> None:
    assert process_command(["sudo", "vllm", "serve", "x"]) is None
    assert process_command(["uv", "run", "vllm", "serve", "x"]) is None
    assert process_command(["/bin/sh", "-c", "llama-server -m x"]) is None
    found = process_command(["/opt/llama", "serve", "-m", "x"])
    assert found == Command("llama.cpp", ("-m", "x"), (), "/opt/llama")


def test_a_list_of_words_is_taken_as_it_stands() -> None:
    assert typed_words(['["vllm", "serve", "a b", "--port", "1"]']) == ["vllm", "serve", "a b", "--port", "1"]
    assert typed_words(['["vllm", 1]']) == ["[vllm,", "1]"]
    assert typed_words(["[ -n x ] && llama-server -c 1"]) == ["llama-server", "-c", "1"]


@pytest.mark.parametrize(
    ("words", "memory_bytes"),
    [
        (["-m", "6g"], 6 << 30),
        (["--memory=512m"], 512 << 20),
        (["--memory", "1.5GB"], 3 << 29),
        (["-m4096k"], 4 << 20),
        (["--memory", "1073741824"], 1 << 30),
        (["--memory", "lots"], None),
        ([], None),
    ],
)
def test_a_container_has_the_memory_that_it_is_given(words: list[str], memory_bytes: int | None) -> None:
    command = parse_command(["docker", "run", *words, "ghcr.io/ggml-org/llama.cpp:server", "-m", "x.gguf"])
    assert command.container is not None
    assert command.container.memory_bytes == memory_bytes
