"""The llama.cpp recorder's own parts: what it cuts out of a source tree, the files it writes, the words it reads."""

from pathlib import Path

import pytest

from kvtop.sources.model_files.gguf import read_gguf
from tools.record_oracle import canonical
from tools.record_oracle.llamacpp import excerpt as cutting
from tools.record_oracle.llamacpp.build import vector_kernels
from tools.record_oracle.llamacpp.fixtures import FIXTURES, flags_of
from tools.record_oracle.llamacpp.gguf_file import expanded, write_gguf
from tools.record_oracle.llamacpp.questions import Question, by_device, refusal, total

ORACLE = Path(__file__).parents[1] / "fixtures" / "oracle"

_HEADER = """
#pragma once
#include <cuda_fp16.h>
#define WIDE(x) ((x)*2)
struct ggml_cuda_device_info { int cc; };
struct never_asked_for { half2 x; };
template <int n> static __device__ float on_the_card(half2 x) { return __shfl_xor_sync(x, n); }
static bool newer(const int cc) { return cc >= 750; }
"""
_SOURCE = """
static __global__ void kernel(half * x) { x[threadIdx.x] = 0; }
static size_t padded(size_t n) { return WIDE(n); }
static void launch(half * x) { kernel<<<1, 32>>>(x); }
bool ggml_backend_cuda_graph_optimize() { return false; }
static const char * ggml_backend_cuda_buffer_type_get_name() { return "a } in a string; and a {"; }
static size_t ggml_backend_cuda_buffer_type_get_alignment() { return 128; }
static const char * ggml_backend_cuda_host_buffer_type_name() { return 0; }
static size_t ggml_backend_cuda_buffer_type_get_alloc_size(size_t n) {
#ifdef CHOSEN
    return padded(n);
#else
    return n;
#endif
}
static bool ggml_backend_cuda_device_supports_op(int op) { return ggml_cuda_other_file(op) && newer(890); }
static bool ggml_backend_cuda_device_supports_buft() { return true; }
static bool ggml_backend_cuda_device_offload_op() { return true; }
"""
_OTHER = """
static size_t padded(size_t n) { return n; }
bool ggml_cuda_other_file(int op);
bool ggml_cuda_other_file(int op) { switch (op) { case 1: return padded(3) == 3; default: return false; } }
"""


def _tree(root: Path, source: str = _SOURCE) -> Path:
    folder = root / "ggml" / "src" / "ggml-cuda"
    folder.mkdir(parents=True)
    (folder / "common.cuh").write_text(_HEADER)
    (folder / "other.cu").write_text(_OTHER)
    (folder / "ggml-cuda.cu").write_text(source)
    return root


def test_rules_come_with_all_they_refer_to_and_without_kernels(tmp_path: Path) -> None:
    text = cutting.excerpt(_tree(tmp_path), ["CHOSEN=1"])
    assert all(f" {name}" in text for name in cutting.ROOTS)
    assert "return ((n)*2);" in text  # the static function of the same file, its macro expanded
    assert "padded(3) == 3" in text
    assert text.count("static size_t padded") == 2  # one of each file
    assert text.index("bool ggml_cuda_other_file(int op);") < text.index("ggml_backend_cuda_device_supports_op")
    assert not any(word in text for word in ("<<<", "__global__", "__shfl", "never_asked_for", "launch"))


def test_a_choice_of_the_build_decides_what_is_cut(tmp_path: Path) -> None:
    text = cutting.excerpt(_tree(tmp_path), [])
    assert "padded(n)" not in text


def test_another_kind_of_tree_is_an_error_that_names_what_is_missing(tmp_path: Path) -> None:
    renamed = _SOURCE.replace("device_offload_op", "device_offloads_op")
    with pytest.raises(cutting.ExcerptError, match="ggml_backend_cuda_device_offload_op"):
        cutting.excerpt(_tree(tmp_path, renamed), [])
    with pytest.raises(cutting.ExcerptError, match="no CUDA sources"):
        cutting.excerpt(tmp_path / "nothing", [])


def test_vector_kernels_are_the_build_s_own_choice(tmp_path: Path) -> None:
    (tmp_path / "ggml").mkdir()
    lists = tmp_path / "ggml" / "CMakeLists.txt"
    lists.write_text('set   (GGML_CUDA_FA_QUANTS "q4_0-q4_0;q8_0-q8_0" CACHE STRING\n "…")')
    macros = vector_kernels(tmp_path)
    assert len(macros) == 49
    chosen = {macro for macro in macros if macro.endswith("=1")}
    assert chosen == {f"GGML_CUDA_FA_{pair}=1" for pair in ("F16_F16", "Q4_0_Q4_0", "Q8_0_Q8_0")}
    lists.write_text("option(GGML_CUDA_FA_ALL_QUANTS OFF)")
    assert vector_kernels(tmp_path) == []


@pytest.mark.parametrize("fixture", ["llamacpp", "llamacpp_more_models", "llamacpp_architectures"])
def test_recorded_models_are_files_that_read_back(fixture: str, tmp_path: Path) -> None:
    models = canonical.read(ORACLE / f"{fixture}.json.gz")["models"]
    path = tmp_path / "model.gguf"
    for name, model in list(models.items())[::10]:
        write_gguf(path, model)
        header = read_gguf(path)
        assert list(header.metadata) == list(model["kv"]), name
        tensors = [(tensor.name, tensor.type_name, list(tensor.shape)) for tensor in header.tensors]
        assert tensors == list(expanded(model["tensors"])), name
        assert path.stat().st_blocks * 512 < 2**24, name  # the weights are a hole


def test_every_fixture_is_written_canonically() -> None:
    paths = [*ORACLE.glob("**/*.json.gz"), *(ORACLE.parent / "fit").glob("*.json.gz")]
    assert len(paths) > 10
    for path in paths:
        assert canonical.to_bytes(canonical.read(path)) == path.read_bytes(), path


def test_bytes_depend_on_content_alone(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "fixture.json.gz"
    assert canonical.write(path, {"b": 1, "a": [1.5, "é"]})
    assert not canonical.write(path, {"a": [1.5, "é"], "b": 1})
    assert canonical.read(path) == {"a": [1.5, "é"], "b": 1}
    assert path.read_bytes()[3:10] == bytes.fromhex("00000000000" + "2ff")  # no name, no date, no system


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda fixture: str(fixture.name))
def test_cases_are_asked_by_distinct_names_about_models_that_are_there(fixture: object) -> None:
    chosen = next(one for one in FIXTURES if one is fixture)
    questions = chosen.questions(canonical.read(ORACLE / f"{chosen.name}.json.gz"))
    known = {name for source in chosen.models for name in canonical.read(ORACLE / f"{source}.json.gz")["models"]}
    assert len({question.name for question in questions}) == len(questions) > 300
    assert {question.model for question in questions} <= known
    assert not any("\t" in word for question in questions for word in question.flags)


def test_settings_of_tiny_models_are_options_of_llama_server() -> None:
    settings = {
        "ctx_tokens": 1024,
        "kv_unified": False,
        "tensor_split": [1.0, 2.5],
        "tensor_overrides": [["ffn.*", "CPU"], ["token", "CUDA1"]],
        "speculative_types": ["draft-mtp"],
    }
    spelled = "-c 1024 --no-kv-unified -ts 1,2.5 -ot ffn.*=CPU,token=CUDA1 --spec-type draft-mtp"
    assert list(flags_of(settings)) == spelled.split()
    with pytest.raises(KeyError):
        flags_of({"threads": 4})


def test_a_question_is_one_line() -> None:
    question = Question("7", "llama", ("100:90", "50:50"), ("-c", "8"), ("details", "fusion"))
    assert question.line(Path("m")) == "7\t100:90,50:50\tdetails,fusion\t-m\tm/llama.gguf\t-c\t8"
    assert Question("7", "llama", (), ()).line(Path("m")) == "7\t-\t-\t-m\tm/llama.gguf"


def test_answers_name_the_card_and_add_repacked_weights_to_the_host() -> None:
    measured = {
        "devices": ["CUDA1"],
        "by_device": {
            "gpu0": {"weights": 1, "kv": 2, "compute": 3},
            "CPU_REPACK": {"weights": 10, "kv": 0, "compute": 0},
            "host": {"weights": 5, "kv": 0, "compute": 7},
        },
    }
    host = {"weights": 15, "kv": 0, "compute": 7}
    assert by_device(measured) == {"gpu1": {"weights": 1, "kv": 2, "compute": 3}, "host": host}
    assert list(by_device(measured, idle_cards=2)) == ["gpu0", "gpu1", "host"]
    assert total(measured, "weights") == 16


def test_a_refusal_is_the_engine_s_words_and_a_crash_is_not_silent() -> None:
    assert refusal({"main": {"by_device": {}}, "errors": []}) is None
    assert refusal({"main": {"refused": "context"}, "errors": ["why", "and"]}) == ["why", "and"]
    assert refusal({"parsed": False, "signal": 6}) == ["the engine ended without a word"]
