"""The command line of `vllm serve`, with argparse's semantics."""

import pytest

from kvtop.domain.launch import Origin
from kvtop.domain.plan import NoExactRuleError
from kvtop.planning.vllm.options.parse import parse_serve_options
from kvtop.planning.vllm.options.settings import human_whole, settings_from
from kvtop.planning.vllm.refusals import StartRefusedError


@pytest.mark.parametrize(
    "words",
    [
        ["--tensor-parallel-size", "4"],
        ["--tensor-parallel-size=4"],
        ["--tensor_parallel_size", "4"],
        ["--tensor_parallel_size=4"],
        ["-tp", "4"],
        ["-tp=4"],
        ["--tensor-par", "4"],
        ["-tp", "2", "--tensor-parallel-size", "4"],
    ],
)
def test_every_spelling_of_a_size(words: list[str]) -> None:
    options = parse_serve_options(["org/model", *words])
    assert options.errors == ()
    assert options.value("tensor-parallel-size") == "4"
    assert options.value("model") == "org/model"


def test_switches_and_their_opposites() -> None:
    options = parse_serve_options(
        ["m", "--enable-prefix-caching", "--no-async-scheduling", "--no-enable-prefix-caching"]
    )
    assert options.value("enable-prefix-caching") == "false"
    assert options.value("async-scheduling") == "false"
    settings = settings_from(options)
    assert settings.prefix_caching is False
    assert settings.async_scheduling is False


def test_the_model_may_be_named_by_option() -> None:
    assert parse_serve_options(["--model", "org/model"]).value("model") == "org/model"


def test_secrets_are_dropped() -> None:
    options = parse_serve_options(["m", "--api-key", "s3cret", "other", "--hf-token", "hf_x", "--port", "8000"])
    assert options.errors == ()
    assert "s3cret" not in repr(options)
    assert "hf_x" not in repr(options)
    assert options.value("port") == "8000"


def test_words_nobody_knows_keep_no_value() -> None:
    options = parse_serve_options(["m", "--no-such-key=s3cret"])
    assert options.unknown == ("--no-such-key",)
    assert options.errors == ("unrecognized arguments: --no-such-key",)


def test_an_ambiguous_prefix_is_argparses_complaint() -> None:
    (error,) = parse_serve_options(["m", "--max", "4"]).errors
    assert error.startswith("ambiguous option: --max could match")


def test_parts_of_json_options_are_gathered() -> None:
    options = parse_serve_options(
        ["m", "--attention-config.backend", "FLASHINFER", "--attention_config.flash_attn_version=2"]
    )
    assert options.value("attention-config") == '{"backend": "FLASHINFER", "flash_attn_version": 2}'
    settings = settings_from(options)
    assert settings.attention_backend == "FLASHINFER"
    assert settings.flash_attn_version == 2


def test_the_command_line_overrides_the_file() -> None:
    text = """
    # comment
    """.replace("    ", "")
    text += 'model: org/model\ntensor-parallel-size: 2  # two\nkv_cache_dtype: "fp8"\nenable-prefix-caching: true\n'
    text += "async-scheduling: false\nkv-cache-dtype-skip-layers:\n  - 0\n  - 1\n"
    options = parse_serve_options(["--tensor-parallel-size", "4"], config_yaml=text)
    assert options.errors == ()
    assert options.value("model") == "org/model"
    assert options.value("kv-cache-dtype") == "fp8"
    assert options.value("enable-prefix-caching") == "true"
    assert options.value("async-scheduling") is None
    assert options.value("kv-cache-dtype-skip-layers") == "0 1"
    size = options.get("tensor-parallel-size")
    assert size is not None
    assert (size.value, size.origin) == ("4", Origin.ARGV)
    dtype = options.get("kv-cache-dtype")
    assert dtype is not None
    assert dtype.origin is Origin.FILE


@pytest.mark.parametrize(
    ("text", "value"), [("32k", 32_000), ("32K", 32_768), ("25.6k", 25_600), ("1M", 1 << 20), ("8192", 8192)]
)
def test_human_numbers_are_vllms(text: str, value: int) -> None:
    assert human_whole(text, "max-model-len") == value


def test_auto_length() -> None:
    settings = settings_from(parse_serve_options(["m", "--max-model-len", "auto"]))
    assert settings.fit_length
    assert settings.max_model_len is None
    assert settings_from(parse_serve_options(["m", "--max-model-len=-1"])).fit_length


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "tensor-parallel-size",
            "0",
            "ParallelConfig: tensor_parallel_size: Input should be greater than or equal",
        ),
        ("max-num-seqs", "0", "SchedulerConfig: max_num_seqs: Input should be greater than or equal to 1"),
        ("block-size", "0", "CacheConfig: block_size: Input should be greater than 0"),
        ("gpu-memory-utilization", "0", "gpu_memory_utilization: Input should be greater than 0"),
        ("gpu-memory-utilization", "nan", "gpu_memory_utilization: Input should be greater than 0"),
        ("gpu-memory-utilization", "1.5", "less than or equal to 1 [type=less_than_equal, input_value=1.5"),
    ],
)
def test_numbers_that_no_configuration_class_takes(name: str, value: str, words: str) -> None:
    with pytest.raises(StartRefusedError) as caught:
        settings_from(parse_serve_options(["m", f"--{name}", value]))
    assert words in str(caught.value)


def test_a_length_of_nothing_has_no_rule() -> None:
    with pytest.raises(NoExactRuleError, match="--max-model-len 0"):
        settings_from(parse_serve_options(["m", "--max-model-len", "0"]))


@pytest.mark.parametrize(
    ("argv", "yaml", "model"),
    [
        (["--model", "org/m", "--flag-of-tomorrow", "canary"], None, "org/m"),
        (["org/m", "--flag-of-tomorrow", "canary", "canary", "--port", "8000"], None, "org/m"),
        (["--flag-of-tomorrow", "canary"], None, None),
        (["--flag-of-tomorrow=canary", "org/m"], None, "org/m"),
        (["org/m", "-pcanary-CANARY"], None, "org/m"),
        ([], "model: org/m\nmy_password: canary\n", "org/m"),
        (["org/m"], "my_password: canary\nsecret_list:\n  - canary\n  - canary\n", "org/m"),
        ([], "my_password: canary\n", None),
    ],
)
def test_the_value_of_an_unknown_option_is_neither_the_model_nor_in_a_complaint(
    argv: list[str], yaml: str | None, model: str | None
) -> None:
    options = parse_serve_options(argv, config_yaml=yaml)
    assert options.value("model") == model
    assert "canary" not in repr(options).lower()
    assert options.unknown
