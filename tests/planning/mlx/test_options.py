"""The command line of mlx_lm.server as argparse reads it."""

import pytest

from kvtop.planning.mlx.options import parse_server_options


def test_prefixes_and_equals_signs_are_enough() -> None:
    options = parse_server_options(["--kv-b", "8", "--quantized=0", "--prompt-cache-b=2G", "--mod", "m"])
    assert options.errors == ()
    assert options.value("kv-bits") == "8"
    assert options.value("quantized-kv-start") == "0"
    assert options.value("prompt-cache-bytes") == "2000000000"
    assert options.value("model") == "m"


def test_the_last_one_wins() -> None:
    assert parse_server_options(["--kv-bits", "8", "--kv-bits", "4"]).value("kv-bits") == "4"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--prompt-cache-bytes", "1GiB"], "KeyError: 'GIB'"),
        (["--kv-bits", "q8_0"], "argument --kv-bits: invalid int value: 'q8_0'"),
        (["--max-kv-size", "4096"], "unrecognized arguments: --max-kv-size 4096"),
        (["--model"], "argument --model: expected one argument"),
    ],
)
def test_complaints_are_the_engines(words: list[str], complaint: str) -> None:
    assert parse_server_options(words).errors == (complaint,)


def test_the_value_of_an_unknown_option_is_in_no_complaint() -> None:
    options = parse_server_options(["--model", "org/m", "--secret-thing", "canary", "-pCANARY", "stray-canary"])
    assert options.errors == ("unrecognized arguments: --secret-thing *** -p*** ***",)
    assert options.unknown == ("--secret-thing", "-p***")
