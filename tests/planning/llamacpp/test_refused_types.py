"""What was meant by a cache type that llama-server does not have."""

import pytest

from kvtop.planning.llamacpp.options.parse import parse_llama_server
from kvtop.planning.llamacpp.options.refused_types import refused_types, with_meant_types


@pytest.mark.parametrize(
    ("kind", "meant"),
    [
        ("Q8_0", "q8_0"),
        ("q6_k", "q8_0"),
        ("q5_K_M", "q5_1"),
        ("q4_k", "q8_0"),
        ("turbo3", "q8_0"),
        ("fp8", "q8_0"),
        ("fp16", "f16"),
        ("float16", "f16"),
        ("F16", "f16"),
        ("bfloat16", "bf16"),
        ("fp32", "f32"),
        ("half", "q8_0"),
    ],
)
def test_the_next_type_that_exists(kind: str, meant: str) -> None:
    options = parse_llama_server(["-ctk", kind, "--cache-type-v", "q8_0"], {}, strict=True)
    (refused,) = refused_types(options.errors)
    assert (refused.option, refused.kind, refused.fix) == ("cache-type-k", kind, f"--cache-type-k {meant}")
    assert with_meant_types(options).value("cache-type-k") == meant
    assert with_meant_types(options).value("cache-type-v") == "q8_0"


def test_a_variable_is_mended_where_it_was_set() -> None:
    options = parse_llama_server([], {"LLAMA_ARG_CACHE_TYPE_V": "q6_K"}, strict=True)
    (refused,) = refused_types(options.errors)
    assert (refused.option, refused.fix) == ("cache-type-v", "LLAMA_ARG_CACHE_TYPE_V=q8_0")


def test_other_complaints_are_none() -> None:
    assert refused_types(parse_llama_server(["-c", "x", "--nothing"], {}, strict=True).errors) == ()
