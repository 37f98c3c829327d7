"""The llama.cpp recorder's own parts: what it cuts out of a source tree, the files it writes, the words it reads."""

import shutil
from pathlib import Path

import pytest

from kvtop.sources.model_files.gguf import read_gguf
from tools.record_oracle import canonical
from tools.record_oracle.llamacpp import excerpt as cutting
from tools.record_oracle.llamacpp.build import features, vector_kernels
from tools.record_oracle.llamacpp.fits import fit_answers
from tools.record_oracle.llamacpp.fixtures import FIXTURES, Fixture, flags_of
from tools.record_oracle.llamacpp.gguf_file import expanded, write_gguf
from tools.record_oracle.llamacpp.questions import Question, by_device, refusal, total
from tools.record_oracle.llamacpp.recorder import NEWEST, path_of

needs_a_preprocessor = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler: nothing to cut with")
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


@needs_a_preprocessor
def test_rules_come_with_all_they_refer_to_and_without_kernels(tmp_path: Path) -> None:
    text = cutting.excerpt(_tree(tmp_path), ["CHOSEN=1"])
    assert all(f" {name}" in text for name in cutting.ROOTS)
    assert "return ((n)*2);" in text  # the static function of the same file, its macro expanded
    assert "padded(3) == 3" in text
    assert text.count("static size_t padded") == 2  # one of each file
    assert text.index("bool ggml_cuda_other_file(int op);") < text.index("ggml_backend_cuda_device_supports_op")
    assert not any(word in text for word in ("<<<", "__global__", "__shfl", "never_asked_for", "launch"))


@needs_a_preprocessor
def test_a_choice_of_the_build_decides_what_is_cut(tmp_path: Path) -> None:
    text = cutting.excerpt(_tree(tmp_path), [])
    assert "padded(n)" not in text


@needs_a_preprocessor
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


@pytest.mark.parametrize("fixture", FIXTURES, ids=[fixture.name for fixture in FIXTURES])
def test_cases_are_asked_by_distinct_names_about_models_that_are_there(fixture: Fixture) -> None:
    questions = fixture.questions(canonical.read(path_of(fixture.name, NEWEST, ORACLE)))
    known = {name for source in fixture.models for name in canonical.read(path_of(source, NEWEST, ORACLE))["models"]}
    assert len({question.name for question in questions}) == len(questions) > 100
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


def test_a_build_s_parts_are_read_off_its_headers(tmp_path: Path) -> None:
    headers = {"common/speculative.h": "", "common/fit.h": "", "common/common.h": "bool kv_unified_per_slot;"}
    for name, text in {**headers, "include/llama.h": "LLAMA_LOAD_MODE_NONE"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    lines = features(tmp_path).splitlines()
    assert "#define HAS_KV_UNIFIED_PER_SLOT 1" in lines
    assert "#define HAS_LOAD_MODE 1" in lines
    assert "#define HAS_FIT_EXTRA 0" in lines


def test_another_build_answers_in_a_folder_of_its_own() -> None:
    assert path_of("llamacpp", "b1", ORACLE) == ORACLE / "llama.cpp" / "b1" / "llamacpp.json.gz"
    assert path_of("fit", "b1", ORACLE) == ORACLE.parent / "fit" / "b1.json.gz"


_FITTED = {
    "name": "one",
    "parsed": True,
    "fit": {
        "status": 1,
        "n_ctx": 4096,
        "n_gpu_layers": 3,
        "tensor_split": [2.0, 1.5],
        "overrides": [["ffn", "CPU"]],
        "log": [
            "get_memory_for_layers: id=0, n_layer= 2, n_part= 0, overflow_type=4, mem=   347 MiB",
            "get_memory_for_layers: id=1, n_layer=10, n_part= 1, overflow_type=2, mem=     9 MiB",
            "get_memory_for_layers: id=0, n_layer= 3, n_part= 0, overflow_type=4, mem=   400 MiB",
            "common_fit_params: failed to fit params to free device memory: already set, abort",
        ],
    },
    "main": {
        "devices": ["CUDA1", "CUDA0"],
        "n_ctx": 4096,
        "n_ctx_seq": 1024,
        "by_device": {"gpu0": {"weights": 2**20, "kv": 2**19, "compute": 0}, "gpu1": {"weights": 2**30}, "host": {}},
    },
    "draft": {"devices": ["CUDA0"], "by_device": {"gpu0": {"weights": 2**21}}},
}


def test_a_fit_is_written_with_its_trials_and_what_is_left_of_each_card_it_uses() -> None:
    case = {"id": "one", "model": "m", "devices": [[2000, 1030], [100, 90]], "flags": ["-fitt", "88,4"]}
    (answered,) = fit_answers({"cases": [case]}, {"one": _FITTED})["cases"]
    expected = answered["expected"]
    assert expected["status"] == "failure"
    assert expected["message"] == "already set, abort"
    assert expected["tried"] == [[[2, 0, 4, 347], [10, 1, 2, 9]], [[3, 0, 4, 400]]]
    assert expected["tensor_split"] == [2, 1.5]
    assert expected["left_mib"] == [88.5, 4.0]  # by the model's own order of devices, the draft's bytes taken off
    assert (expected["margin_kept"], expected["within_free"]) == (True, True)
    assert {**answered, "expected": None} == {**case, "expected": None}


def test_a_fit_that_ends_the_engine_is_written_as_such() -> None:
    case = {"id": "one", "model": "m", "devices": [[2, 1]], "flags": []}
    (answered,) = fit_answers({"cases": [case]}, {"one": {"parsed": False, "signal": 8}})["cases"]
    assert answered["expected"] == {"status": "died", "signal": 8}


def test_a_part_of_the_newest_cases_is_compared_and_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = {"cases": [1, 2, 3, 4, 5], "models": {}}
    some = canonical.thinned(recorded, 2)
    assert some == {"cases": [1, 3, 5], "models": {}, "every": 2}
    assert canonical.thinned(recorded, 1) == recorded
    path = tmp_path / "f.json.gz"
    assert not canonical.keep(path, {**some, "cases": [1, 9, 5]}, some)
    assert not path.exists()
    assert "2 of 3 are as recorded" in capsys.readouterr().out
    assert canonical.keep(path, some, None)
    assert canonical.read(path) == some
