"""Hugging Face directories: configuration, shards, and what is missing or not to be believed."""

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvtop.domain.model_file import CheckpointTensor, ModelFileError
from kvtop.sources.model_files.huggingface import read_checkpoint
from kvtop.sources.model_files.safetensors import read_safetensors

Writer = Callable[..., bytes]
CONFIG = {"model_type": "llama", "hidden_size": 8}
A, B = {"a": ("BF16", (2, 3), 12)}, {"b": ("F8_E4M3", (5,), 5), "c": ("F4", (3, 2), 3)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def _index(folder: Path, shards: dict[str, str], total: object = 20) -> None:
    text = json.dumps({"metadata": {"total_size": total}, "weight_map": shards})
    (folder / "model.safetensors.index.json").write_text(text)


def test_one_file(folder: Path, safetensors_bytes: Writer) -> None:
    (folder / "model.safetensors").write_bytes(safetensors_bytes(A | B, {"format": "pt"}))
    checkpoint = read_checkpoint(folder)
    assert checkpoint.path == str(folder)
    assert checkpoint.config == CONFIG
    assert checkpoint.tensors == (
        CheckpointTensor("a", "BF16", (2, 3), 12),
        CheckpointTensor("b", "F8_E4M3", (5,), 5),
        CheckpointTensor("c", "F4", (3, 2), 3),
    )
    assert checkpoint.tensor_bytes == 20
    assert checkpoint.notes == ()


def test_an_index_decides_which_files_count(folder: Path, safetensors_bytes: Writer) -> None:
    (folder / "one.safetensors").write_bytes(safetensors_bytes(A))
    (folder / "two.safetensors").write_bytes(safetensors_bytes(B))
    (folder / "stray.safetensors").write_bytes(safetensors_bytes({"x": ("F32", (1,), 4)}))
    _index(folder, {"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}, total=999)
    checkpoint = read_checkpoint(folder)
    assert [tensor.name for tensor in checkpoint.tensors] == ["a", "b", "c"]
    assert checkpoint.tensor_bytes == 20  # the headers', not the index's


@pytest.mark.parametrize(("total", "expected"), [(20, 20), (20.0, 20), ("20", None), (True, None), (-1, None)])
def test_missing_shards_are_a_note_and_the_index_has_the_total(
    folder: Path, safetensors_bytes: Writer, total: object, expected: int | None
) -> None:
    (folder / "one.safetensors").write_bytes(safetensors_bytes(A))
    _index(folder, {"a": "one.safetensors", "b": "two.safetensors"}, total)
    checkpoint = read_checkpoint(folder)
    assert [tensor.name for tensor in checkpoint.tensors] == ["a"]
    assert checkpoint.tensor_bytes == expected
    assert checkpoint.notes == ("1 of 2 weight files missing: two.safetensors",)


def test_without_weights(folder: Path) -> None:
    bare = read_checkpoint(folder)
    assert (bare.tensors, bare.tensor_bytes, bare.notes) == ((), None, ("no weights here",))
    (folder / "pytorch_model.bin").touch()
    assert read_checkpoint(folder).notes == ("no safetensors weights here (.bin are not read)",)


def test_files_that_repeat_or_extend_the_weights_are_left_out(folder: Path, safetensors_bytes: Writer) -> None:
    for name in ("model.safetensors", "consolidated.safetensors", "adapter_model.safetensors"):
        (folder / name).write_bytes(safetensors_bytes(A))
    checkpoint = read_checkpoint(folder)
    assert checkpoint.tensor_bytes == 12
    assert checkpoint.notes == ("not counted: adapter_model.safetensors, consolidated.safetensors",)
    (folder / "model.safetensors").unlink()
    (folder / "adapter_model.safetensors").unlink()
    assert read_checkpoint(folder).tensor_bytes == 12


def test_a_tensor_in_two_files_counts_once(folder: Path, safetensors_bytes: Writer) -> None:
    (folder / "model-1.safetensors").write_bytes(safetensors_bytes(A))
    (folder / "model-2.safetensors").write_bytes(safetensors_bytes(A | B))
    checkpoint = read_checkpoint(folder)
    assert checkpoint.tensor_bytes == 20
    assert checkpoint.notes == ("1 tensors are in more than one file, counted once",)


@pytest.mark.parametrize("name", ["../config.json", "/etc/passwd", "", "a/../../b", "nul\0", 5])
def test_an_index_cannot_lead_out_of_its_directory(folder: Path, name: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ModelFileError, match="as a weight file"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("config.json", "[1]", "holds JSON, but not an object"),
        ("config.json", "{", "not JSON"),
        ("config.json", "\ud800".encode("utf-8", "surrogatepass"), "not JSON"),
        ("config.json", '{"a":' + "[" * 200_000, "not JSON"),
        ("config.json", '{"a":' + "9" * 5000 + "}", "not JSON"),
        ("config.json", " " * ((16 << 20) + 1), "bytes of JSON"),
        ("model.safetensors.index.json", "{}", "has no weight_map"),
        ("model.safetensors", b"", "truncated"),
        ("model.safetensors", struct.pack("<Q", 1 << 40) + b"{}", "truncated: the header takes 1099511627776 of 10"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        ("model.safetensors", struct.pack("<Q", 2) + b"[]", "not an object"),
        ("model.safetensors", struct.pack("<Q", 7) + b'{"a":1}', "'a' has no believable"),
    ],
)
def test_refuses_what_cannot_be_believed(folder: Path, name: str, content: str | bytes, found: str) -> None:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ModelFileError) as caught:
        read_checkpoint(folder)
    assert str(caught.value).startswith(f"{folder / name}: ")
    assert found in str(caught.value)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"shape": [-1, 3]}, "no believable"),
        ({"shape": [True, 3]}, "no believable"),
        ({"shape": [1] * 33}, "no believable"),
        ({"shape": [1 << 63]}, "no believable"),
        ({"dtype": None}, "no believable"),
        ({"data_offsets": [0]}, "no believable"),
        ({"data_offsets": [12, 0]}, "ends before it begins"),
        ({"data_offsets": [0, 13]}, "truncated: 'a' ends at byte 13 of 12 bytes of data"),
        ({"shape": [2, 4]}, r"'a' is BF16 of shape \(2, 4\), but has 12 bytes"),
    ],
)
def test_refuses_impossible_tensors(tmp_path: Path, change: dict[str, object], found: str) -> None:
    entry: dict[str, object] = {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}
    text = json.dumps({"a": entry | change}).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(12))
    with pytest.raises(ModelFileError, match=found):
        read_safetensors(str(path))


def test_data_must_be_covered_exactly(tmp_path: Path, safetensors_bytes: Writer) -> None:
    path = tmp_path / "m.safetensors"
    content = safetensors_bytes({"a": ("U8", (4,), 4), "b": ("U8", (4,), 4)})
    path.write_bytes(content + b"\0")
    with pytest.raises(ModelFileError, match="9 bytes of data, the tensors take 8"):
        read_safetensors(str(path))
    path.write_bytes(content.replace(b"[4, 8]", b"[0, 4]"))
    with pytest.raises(ModelFileError, match="'b' begins at byte 0 of the data, expected 4"):
        read_safetensors(str(path))


def test_a_dtype_of_tomorrow_is_measured_by_its_offsets(tmp_path: Path, safetensors_bytes: Writer) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors_bytes({"a": ("F2", (16,), 4)}))
    assert read_safetensors(str(path)) == (CheckpointTensor("a", "F2", (16,), 4),)


def test_a_header_longer_than_any_real_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 33 << 20))
        file.truncate(64 << 20)
    with pytest.raises(ModelFileError, match="a header of 34603008 bytes"):
        read_safetensors(str(path))


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"absent/config\.json: No such file"):
        read_checkpoint(tmp_path / "absent")


@given(changes=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=6), cut=st.integers(0, 300))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_corruption_raises_nothing_but_model_file_error(
    tmp_path: Path, safetensors_bytes: Writer, changes: list[tuple[int, int]], cut: int
) -> None:
    content = bytearray(safetensors_bytes(A | B, {"format": "pt"}))
    for place, byte in changes:
        content[place % len(content)] = byte
    path = tmp_path / "m.safetensors"
    path.write_bytes(content[:cut])
    with suppress(ModelFileError):
        assert sum(tensor.size_bytes for tensor in read_safetensors(str(path))) <= 20


def test_the_quantization_of_the_file_beside_it_belongs_to_the_configuration(folder: Path) -> None:
    beside = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4"}}
    (folder / "hf_quant_config.json").write_text(json.dumps(beside))
    assert read_checkpoint(folder).config == {**CONFIG, "quantization_config": beside}
    (folder / "config.json").write_text(json.dumps({**CONFIG, "quantization_config": {"quant_method": "fp8"}}))
    assert read_checkpoint(folder).config["quantization_config"] == {"quant_method": "fp8"}
