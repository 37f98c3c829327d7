"""One refused option hides no other."""

from kvtop.planning.mlx.options import parse_server_options
from kvtop.planning.vllm.options.parse import parse_serve_options


def test_what_follows_a_refused_option_of_vllm_is_read() -> None:
    words = [
        "m",
        "--enable-prefix-caching=false",
        "--host",
        "127.0.0.1",
        "--kv-cache-dtype",
        "q8_0",
        "--max-model-len",
        "4096",
    ]
    options = parse_serve_options(words)
    assert (options.value("host"), options.value("max-model-len"), options.value("model")) == ("127.0.0.1", "4096", "m")
    assert options.errors == (
        "argument --enable-prefix-caching/--no-enable-prefix-caching: ignored explicit argument 'false'",
    )


def test_what_follows_a_refused_option_of_mlx_is_read() -> None:
    options = parse_server_options(["--kv-bits", "eight", "--host", "127.0.0.1", "--prompt-cache-bytes", "1GiB"])
    assert options.value("host") == "127.0.0.1"
    assert options.errors == ("argument --kv-bits: invalid int value: 'eight'",)


def test_a_value_that_is_missing_at_the_end() -> None:
    options = parse_serve_options(["m", "--host", "127.0.0.1", "--port"])
    assert (options.value("host"), options.errors) == ("127.0.0.1", ("argument --port: expected one argument",))
