"""From metadata to hyperparameters: windows, recurrent layers, defaults and complaints."""

from typing import Any

import pytest

from kvtop.domain.figure import Basis
from kvtop.domain.memory import Segment
from kvtop.domain.model_file import GgufHeader, MetadataValue, SkippedArray
from kvtop.domain.plan import MemoryPlan, NoExactRuleError
from kvtop.planning.llamacpp.memory.prepared import prepare
from kvtop.planning.llamacpp.model.hparams import HParams
from kvtop.planning.llamacpp.model.loading import load_hparams
from kvtop.planning.llamacpp.model.metadata import vocabulary_tokens
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.planner import plan
from tests.oracle import cases as oracle_cases

BASE: dict[str, Any] = {
    "context_length": 8192,
    "block_count": 6,
    "embedding_length": 512,
    "feed_forward_length": 1024,
    "attention.head_count": 8,
    "vocab_size": 1000,
}


def _loaded(arch: str, **changes: object) -> HParams:
    values = BASE | {key.replace("__", "."): value for key, value in changes.items()}
    metadata = {f"{arch}.{key}": ["v", value] for key, value in values.items() if value is not None}
    metadata |= {"general.architecture": ["v", arch], "tokenizer.ggml.model": ["v", "no_vocab"]}
    header: GgufHeader = oracle_cases.header_of("x", metadata, [])
    return load_hparams(header)


def test_heads_default_to_the_embedding_divided() -> None:
    plain = _loaded("llama")
    assert plain.n_head_kv == (8,) * 6
    assert plain.n_embd_k_gqa(0) == 512
    assert not any(plain.is_swa)
    grouped = _loaded("llama", attention__head_count_kv=2, attention__key_length=128)
    assert (grouped.n_embd_k_gqa(0), grouped.n_embd_v_gqa(0)) == (256, 128)


@pytest.mark.parametrize(
    ("arch", "changes", "expected"),
    [
        ("gemma2", {}, "SFSFSF"),
        ("gemma3", {"attention__sliding_window": 512}, "SSSSSF"),
        ("gemma3", {}, "FFFFFF"),
        ("gemma3", {"attention__sliding_window": 512, "attention__sliding_window_pattern": 2}, "SFSFSF"),
        ("cohere2moe", {"attention__sliding_window": 512}, "FSSSFS"),
        ("llama4", {}, "SSSFSS"),
        ("llama4", {"attention__sliding_window": 0}, "FFFFFF"),
        ("phi3", {"attention__sliding_window": 2048}, "FFFFFF"),
        ("llama", {"attention__sliding_window": 4096}, "FFFFFF"),
        ("exaone4", {"attention__sliding_window": 4096}, "FFFFFF"),
        (
            "gpt-oss",
            {"attention__sliding_window": 128, "attention__sliding_window_pattern": (1, 1, 0, 0, 1, 0)},
            "SSFFSF",
        ),
        ("gemma3", {"attention__sliding_window": 512, "attention__sliding_window_pattern": 0}, "SSSSSS"),
        (
            "lfm2",
            {"attention__sliding_window": 64, "attention__head_count_kv": (0, 8, 0, 8, 0, 0), "shortconv__l_cache": 3},
            "FSFSFF",
        ),
    ],
)
def test_which_layers_slide(arch: str, changes: dict[str, Any], expected: str) -> None:
    hparams = _loaded(arch, **changes)
    assert "".join("S" if slides else "F" for slides in hparams.is_swa) == expected


def test_windows_that_a_file_does_not_decide() -> None:
    assert _loaded("gemma2").n_swa == 4096
    assert _loaded("llama4", attention__sliding_window=100).n_swa == 8192
    assert _loaded("smallthinker", attention__sliding_window=100).n_swa == 4096


def test_a_window_that_must_be_listed_is_not_guessed() -> None:
    with pytest.raises(NoExactRuleError, match="sliding_window_pattern"):
        _loaded("mimo2", attention__sliding_window=128)
    with pytest.raises(NoExactRuleError, match=r"cohere2\.attention\.sliding_window"):
        _loaded("cohere2")


def test_prediction_blocks_never_slide() -> None:
    hparams = _loaded("exaone-moe", attention__sliding_window=128, nextn_predict_layers=1)
    assert (hparams.n_layer, hparams.n_layer_all) == (5, 6)
    assert hparams.is_swa[-1] is False


def test_recurrent_layers() -> None:
    interval = _loaded("qwen35", ssm__conv_kernel=4, ssm__inner_size=64, ssm__state_size=16)
    assert interval.is_recurrent == (True, True, True, False, True, True)
    assert (interval.n_embd_r, interval.n_embd_s) == (3 * 64, 16 * 64)
    listed = _loaded("qwen35", attention__recurrent_layers=(0, 1, 0, 0, 0, 0))
    assert listed.is_recurrent.index(True) == 1
    nemotron = _loaded(
        "nemotron_h",
        attention__head_count_kv=(0, 0, 8, 0, 0, 8),
        feed_forward_length=(0, 1024, 0, 0, 1024, 0),
    )
    assert nemotron.is_recurrent == (True, False, False, True, False, False)
    assert all(_loaded("falcon-h1").is_recurrent)


def test_latent_heads_count_only_where_the_engine_reads_them() -> None:
    keys = {"attention__key_length_mla": 192, "attention__value_length_mla": 128}
    assert _loaded("deepseek2", **keys).is_mla
    assert not _loaded("deepseek", **keys).is_mla
    assert not _loaded("deepseek2").is_mla


def test_a_looped_model_caches_every_pass() -> None:
    hparams = _loaded("nanbeige", num_loops=2)
    assert (hparams.n_layer_all, hparams.n_weight_layers) == (12, 6)


def test_shared_caches() -> None:
    pattern = {"attention__sliding_window": 512, "attention__sliding_window_pattern": (1, 1, 0, 1, 1, 0)}
    hparams = _loaded("gemma4", attention__shared_kv_layers=2, **pattern)
    assert [hparams.has_kv(layer) for layer in range(6)] == [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attention__head_count_kv": (1, 2)}, "wrong array length; expected 6, got 2"),
        ({"block_count": 0}, "out of range"),
        ({"nextn_predict_layers": 7}, "out of range"),
        ({"embedding_length": "wide"}, "not an integer"),
        ({"attention__head_count_kv": ("a",) * 6}, "does not hold integers"),
        ({"decision__block_count": 2}, "decision head"),
        ({"context_length": None}, r"key not found in model: llama\.context_length"),
    ],
)
def test_metadata_that_the_engine_would_not_take(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(NoExactRuleError, match=words):
        _loaded("llama", **changes)


def test_a_file_without_an_architecture_is_refused() -> None:
    with pytest.raises(NoExactRuleError, match="does not name its architecture"):
        load_hparams(_bare())


def _bare(**metadata: MetadataValue) -> GgufHeader:
    return GgufHeader("x", 3, False, {key.replace("__", "."): value for key, value in metadata.items()}, (), 0)


def test_the_vocabulary_is_counted_even_when_it_was_not_read() -> None:
    stepped_over = _bare(tokenizer__ggml__model="gpt2", tokenizer__ggml__tokens=SkippedArray("string", 151936))
    assert vocabulary_tokens(stepped_over) == 151936
    assert vocabulary_tokens(_bare(tokenizer__ggml__model="gpt2", tokenizer__ggml__tokens=("a", "b"))) == 2
    with pytest.raises(NoExactRuleError, match="tokens"):
        vocabulary_tokens(_bare())


def test_an_array_that_was_stepped_over_is_not_guessed() -> None:
    with pytest.raises(NoExactRuleError, match="9000 values, which were not read"):
        _loaded("llama", attention__head_count_kv=SkippedArray("u32", 9000))


def test_a_key_that_no_known_build_reads_makes_an_estimate_of_the_plan() -> None:
    """GLM 5.2's `index_topk_freq` was one once, and the exact figure was 14 % too large."""
    shape = {key: ["v", value] for key, value in BASE.items()}
    metadata = {f"llama.{key}": value for key, value in shape.items()}
    metadata |= {"general.architecture": ["v", "llama"], "tokenizer.ggml.model": ["v", "no_vocab"]}
    tensors = [["token_embd.weight", "f16", [512, 1000], None], ["output.weight", "f16", [512, 1000], None]]
    settings = LlamaSettings(ctx_tokens=4096, parallel=1, fit=False)
    plain = plan(prepare(oracle_cases.header_of("x", metadata, tensors)), settings, ())
    odd = {"llama.attention.index_topk_freq": ["v", 4], "llama.rope.other": ["v", 1], "llama.vision.depth": ["v", 2]}
    other = plan(prepare(oracle_cases.header_of("x", metadata | odd, tensors)), settings, ())
    assert isinstance(plain, MemoryPlan)
    assert isinstance(other, MemoryPlan)
    cache = Segment.KV_CACHE
    (before,), (after,) = plain.devices, other.devices
    assert before.memory[cache].basis is Basis.COMPUTED
    assert after.memory[cache].basis is Basis.ESTIMATED
    assert "no known build reads the file's llama.attention.index_topk_freq" in after.memory[cache].source
    assert "rope" not in after.memory[cache].source
