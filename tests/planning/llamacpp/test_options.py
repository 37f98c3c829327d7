"""llama-server's options as the program itself reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvtop.domain.launch import Origin
from kvtop.domain.plan import Refusal
from kvtop.planning.llamacpp.option_table import BY_SPELLING
from kvtop.planning.llamacpp.options import MASK, parse_llama_server, settings_of
from kvtop.planning.llamacpp.settings import LlamaSettings

ENVIRONMENT = {"LLAMA_ARG_CACHE_TYPE_K": "q8_0", "LLAMA_ARG_CTX_SIZE": "4096"}
FILES = (("/etc/llama.cpp/config.ini", "[*]\nctx-size = 1024\nflash_attn = off\nubatch-size = 256\n"),)


def settings(*argv: str) -> LlamaSettings:
    answer = settings_of(parse_llama_server(argv, {}))
    assert isinstance(answer, LlamaSettings)
    return answer


def test_argv_wins_over_environment_over_files() -> None:
    options = parse_llama_server(["-c", "512", "-c", "2048"], ENVIRONMENT, FILES)
    found = {it.name: (it.value, it.origin, it.detail) for it in options.options}
    assert found["ctx-size"] == ("2048", Origin.ARGV, "-c")
    assert found["cache-type-k"] == ("q8_0", Origin.ENVIRONMENT, "LLAMA_ARG_CACHE_TYPE_K")
    assert found["flash-attn"] == ("off", Origin.FILE, "/etc/llama.cpp/config.ini")
    assert found["ubatch-size"][0] == "256"


def test_underscores_are_dashes_in_long_names() -> None:
    assert settings("--ctx_size", "8192").ctx_tokens == 8192


def test_a_negative_variable_turns_off_by_being_there() -> None:
    options = parse_llama_server([], {"LLAMA_ARG_NO_KV_OFFLOAD": "0"})
    assert options.value("kv-offload") == "false"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["-fa", "-c", "4096"],
            "error while handling argument \"-fa\": error: unknown value for --flash-attn: '-c'",
        ),
        (["-c", "1", "-fa"], 'error while handling argument "-fa": expected value for argument'),
        (["-ctk", "q6_k"], 'error while handling argument "-ctk": Unsupported cache type: q6_k'),
    ],
)
def test_errors_are_the_engines_own_words(argv: list[str], message: str) -> None:
    answer = settings_of(parse_llama_server(argv, {}))
    assert answer == Refusal("llama.cpp", message)


def test_settings_have_the_types_of_the_rules() -> None:
    answer = settings(
        *("-np", "4", "-no-kvu", "-ngl", "10", "-ts", "3,1", "-nkvo", "-ot", r"blk\.1=CPU", "-fit", "off"),
        *("-ctk", "q8_0", "-fa", "1", "-md", "d.gguf", "-ctkd", "q4_0", "--embeddings"),
    )
    assert answer.parallel == 4
    assert answer.kv_unified is False
    assert answer.gpu_layers == 10
    assert answer.tensor_split == (3.0, 1.0)
    assert answer.kv_offload is False
    assert answer.tensor_overrides == ((r"blk\.1", "CPU"),)
    assert answer.fit is False
    assert answer.flash_attention == "on"
    assert answer.draft is not None
    assert answer.draft.type_k == "q4_0"
    assert answer.embeddings


def test_auto_values_stay_open() -> None:
    answer = settings("-np", "-1", "-ngl", "all")
    assert answer.parallel is None
    assert answer.kv_unified is None
    assert answer.gpu_layers is None


def test_secrets_never_enter() -> None:
    options = parse_llama_server(
        ["--api-key", "canary-1", "-hft", "canary-2", "--new-flag", "canary-3", "--other=canary-4", "-c", "512"],
        {"LLAMA_API_KEY": "canary-5", "HF_TOKEN": "canary-6"},
    )
    assert "canary" not in repr(options)
    assert options.value("api-key") == MASK
    assert options.unknown == ("--new-flag", "--other")
    assert options.value("ctx-size") == "512"


@given(st.lists(st.sampled_from(sorted(BY_SPELLING)) | st.text(max_size=12), max_size=12))
def test_no_command_line_is_an_exception(argv: list[str]) -> None:
    answer = settings_of(parse_llama_server(argv, {}))
    assert isinstance(answer, LlamaSettings | Refusal)
