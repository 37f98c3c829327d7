"""Command lines of llama-server, read as the program reads them (measured on b11434)."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvtop.domain.launch import LaunchOptions, Origin
from kvtop.domain.plan import Refusal
from kvtop.planning.llamacpp.options.parse import parse_llama_server, settings_of
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.options.table import BY_SPELLING, OPTIONS

ARGV: dict[str, list[str]] = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "llamacpp" / "argv.json").read_text(encoding="utf-8")
)
REFUSED = {
    "bad_cache_type": 'error while handling argument "-ctk": Unsupported cache type: q6_k',
    "bare_fa_last": "error while handling argument \"-fa\": error: unknown value for --flash-attn: '--host'",
    "bare_fa_then_opt": "error while handling argument \"-fa\": error: unknown value for --flash-attn: '-c'",
}


def _parse(
    *argv: str, environ: dict[str, str] | None = None, files: list[tuple[str, str]] | None = None
) -> LaunchOptions:
    return parse_llama_server(argv, environ or {}, files or [])


def _settings(*argv: str) -> LlamaSettings:
    settings = settings_of(_parse(*argv))
    assert isinstance(settings, LlamaSettings)
    return settings


@pytest.mark.parametrize("name", sorted(ARGV.keys() - REFUSED.keys()))
def test_recorded_command_lines_are_understood_whole(name: str) -> None:
    options = _parse(*ARGV[name])
    assert options.unknown == ()
    assert options.errors == ()
    assert options.value("port") == ARGV[name][ARGV[name].index("--port") + 1]
    assert isinstance(settings_of(options), LlamaSettings)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_recorded_refusals_in_the_engines_words(name: str) -> None:
    assert _parse(*ARGV[name]).errors[0] == REFUSED[name]
    assert settings_of(_parse(*ARGV[name])) == Refusal("llama.cpp", REFUSED[name])


def test_a_bare_flag_at_the_end_wants_its_value() -> None:
    assert _parse("-c", "4096", "-fa").errors == ('error while handling argument "-fa": expected value for argument',)


def test_nobody_said_leaves_the_defaults_to_the_rules() -> None:
    options = _parse("-m", "x.gguf")
    assert [it.name for it in options.options] == ["model"]
    settings = _settings("-m", "x.gguf")
    assert (settings.ctx_tokens, settings.parallel, settings.kv_unified) == (0, None, None)
    assert (settings.batch_tokens, settings.ubatch_tokens) == (2048, 512)
    assert (settings.type_k, settings.type_v, settings.flash_attention) == ("f16", "f16", "auto")
    assert settings.fit


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"])
def test_the_nine_cache_types(kind: str) -> None:
    settings = _settings("-ctk", kind, "--cache-type-v", kind)
    assert (settings.type_k, settings.type_v) == (kind, kind)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("on", "on"),
        ("1", "on"),
        ("true", "on"),
        ("enabled", "on"),
        ("off", "off"),
        ("0", "off"),
        ("disabled", "off"),
        ("auto", "auto"),
        ("-1", "auto"),
    ],
)
def test_flash_attention_words(word: str, value: str) -> None:
    assert _settings("-fa", word).flash_attention == value


def test_the_last_word_wins() -> None:
    option = _parse("-c", "4096", "--ctx-size", "8192").get("ctx-size")
    assert option is not None
    assert (option.value, option.origin, option.detail) == ("8192", Origin.ARGV, "--ctx-size")


def test_underscores_are_dashes_in_long_names() -> None:
    assert _settings("--cache_type_k", "q8_0").type_k == "q8_0"


def test_argv_over_environment_over_files() -> None:
    files = [
        ("/etc/a.ini", "ctx-size = 1024\nbatch-size = 100\nubatch-size = 50"),
        ("~/b.ini", "[*]\nbatch-size = 200"),
    ]
    environ = {"LLAMA_ARG_CTX_SIZE": "2048", "LLAMA_ARG_BATCH": "300"}
    options = _parse("-c", "4096", environ=environ, files=files)
    assert [(options.value(name), getattr(options.get(name), "origin", None)) for name in
            ("ctx-size", "batch-size", "ubatch-size")] == [
        ("4096", Origin.ARGV), ("300", Origin.ENVIRONMENT), ("50", Origin.FILE)]  # fmt: skip
    detail = options.get("batch-size")
    assert detail is not None
    assert detail.detail == "LLAMA_ARG_BATCH"


def test_a_later_file_wins_over_an_earlier_one() -> None:
    files = [("/etc/a.ini", "batch-size = 100"), ("~/b.ini", "[*]\nbatch-size = 200")]
    assert _parse(files=files).value("batch-size") == "200"


def test_cache_types_from_the_environment() -> None:
    options = _parse(environ={"LLAMA_ARG_CACHE_TYPE_K": "q8_0", "LLAMA_ARG_CACHE_TYPE_V": "q4_0"})
    settings = settings_of(options)
    assert isinstance(settings, LlamaSettings)
    assert (settings.type_k, settings.type_v) == ("q8_0", "q4_0")


def test_negatives() -> None:
    assert _settings("--no-kv-unified", "-np", "4").kv_unified is False
    assert _settings("-no-kvu", "-np", "4").kv_unified is False
    assert _settings("-kvu").kv_unified is True
    assert _settings("-nkvo").kv_offload is False
    assert _parse(environ={"LLAMA_ARG_NO_KV_OFFLOAD": ""}).value("kv-offload") == "false"


def test_given_slots_and_an_explicit_zero_context() -> None:
    assert _settings("-np", "4").parallel == 4
    assert _settings("-np", "-1").parallel is None
    assert _settings("-c", "0").fit_ctx_tokens == 2**32 - 1


@pytest.mark.parametrize("word", ["4096x", " 4096", "+4096"])
def test_numbers_are_read_as_the_engine_reads_them(word: str) -> None:
    assert _parse("-c", word).value("ctx-size") == "4096"


@pytest.mark.parametrize("flag", ["-c", "-ngl", "-np"])
@pytest.mark.parametrize("word", ["9" * 20, "9" * 5000, "2147483648", "²", "abc", "", "+"])
def test_words_that_are_no_number_are_refused(flag: str, word: str) -> None:
    assert isinstance(settings_of(_parse(flag, word)), Refusal)


@pytest.mark.parametrize(
    ("flag", "word"), [("--fit-target", "abc"), ("--fit-target", "inf"), ("--tensor-split", "abc")]
)
def test_a_list_of_other_things_than_numbers_is_refused(flag: str, word: str) -> None:
    assert isinstance(settings_of(_parse(flag, word)), Refusal)


def test_several_overrides_add_up() -> None:
    assert _settings("-ot", "a=CPU", "-ot", "b=CPU,c=CUDA0").tensor_overrides == (
        ("a", "CPU"), ("b", "CPU"), ("c", "CUDA0"))  # fmt: skip


def test_an_option_of_another_build_is_named_and_its_value_dropped() -> None:
    options = _parse("--brand-new", "hunter2", "-c", "4096", "--other=hunter2", "stray")
    assert options.value("ctx-size") == "4096"
    assert options.unknown == ("--brand-new", "--other", "(a word that is no option)")
    assert "hunter2" not in repr(options)


@pytest.mark.parametrize("name", ["api-key", "api-key-file", "hf-token", "ssl-key-file", "mcp-servers-json"])
def test_secrets_are_kept_from_no_source(name: str) -> None:
    spec = OPTIONS[name]
    environ = {spec.variable: "hunter2"} if spec.variable else {}
    for options in (
        _parse(spec.spellings[-1], "hunter2"),
        _parse(environ=environ),
        _parse(files=[("/etc/a.ini", f"{name} = hunter2")]),
    ):
        assert "hunter2" not in repr(options)


def test_every_spelling_belongs_to_one_option() -> None:
    spellings = [word for spec in OPTIONS.values() for word in (*spec.spellings, *spec.negatives)]
    assert len(spellings) == len(set(spellings)) == len(BY_SPELLING)


WORDS = st.sampled_from(sorted(BY_SPELLING)) | st.text(max_size=8) | st.integers().map(str) | st.sampled_from(
    ["q8_0", "auto", "on", "-1", "0", "1,2", "a=b", "²", "٣", "9" * 5000, "nan", "inf", "1e999"]
)  # fmt: skip
VARIABLES = st.sampled_from(sorted(spec.variable for spec in OPTIONS.values() if spec.variable))


@given(
    argv=st.lists(WORDS, max_size=8),
    environ=st.dictionaries(VARIABLES, WORDS, max_size=4),
    text=st.text(max_size=40) | st.lists(st.tuples(st.sampled_from(sorted(OPTIONS)), WORDS)).map(
        lambda rows: "\n".join(f"{key} = {value}" for key, value in rows)),
)  # fmt: skip
def test_no_command_line_can_break_the_reader(argv: list[str], environ: dict[str, str], text: str) -> None:
    options = parse_llama_server(argv, environ, [("/etc/a.ini", text)])
    assert isinstance(settings_of(options), LlamaSettings | Refusal)
    assert len({it.name for it in options.options}) == len(options.options)


def test_a_zero_is_said_not_left_out() -> None:
    settings = settings_of(_parse("-b", "0", "-ub", "0"))
    assert isinstance(settings, LlamaSettings)
    assert (settings.batch_tokens, settings.ubatch_tokens) == (0, 0)


def test_lists_are_split_and_not_trimmed() -> None:
    settings = _settings("-ot", "ffn=CPU, attn=CPU", "-dev", "CUDA0, CUDA1", "--pooling", "mean", "-ngl", "all")
    assert settings.tensor_overrides == (("ffn", "CPU"), (" attn", "CPU"))
    assert settings.devices == ("CUDA0", " CUDA1")
    assert settings.is_pooled
    assert settings.gpu_layers == -2
    assert not _settings("--pooling", "none").is_pooled
    assert _settings("-ngl", "auto").gpu_layers is None
