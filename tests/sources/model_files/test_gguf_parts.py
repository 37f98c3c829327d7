"""Split models: any part leads to all, and what does not fit together is said."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from kvtop.domain.model_file import ModelFileError
from kvtop.sources.model_files.gguf import read_gguf
from kvtop.sources.model_files.gguf_parts import part_paths

Writer = Callable[..., bytes]
Typed = tuple[str, object]


@pytest.fixture
def split(gguf_bytes: Writer, tmp_path: Path) -> Callable[..., list[Path]]:
    """Three parts of one tensor each; `changes` alters the metadata of a part by number."""

    def write(changes: Mapping[int, Mapping[str, Typed]] | None = None, folder: Path = tmp_path) -> list[Path]:
        paths = []
        for number in range(3):
            metadata: dict[str, Typed] = {"split.no": ("u16", number), "split.count": ("u16", 3)}
            metadata["split.tensors.count"] = ("i32", 3)
            if number == 0:
                metadata["general.architecture"] = ("str", "llama")
            metadata |= (changes or {}).get(number, {})
            path = folder / f"m-{number + 1:05d}-of-00003.gguf"
            path.write_bytes(gguf_bytes(metadata, [(f"t{number}", 0, [number + 1], 4 * (number + 1))]))
            paths.append(path)
        return paths

    return write


@pytest.mark.parametrize("given", [0, 1, 2])
def test_any_part_leads_to_the_whole_model(split: Callable[..., list[Path]], given: int) -> None:
    paths = split()
    header = read_gguf(paths[given])
    assert header.path == str(paths[given])
    assert header.architecture == "llama"
    assert [tensor.name for tensor in header.tensors] == ["t0", "t1", "t2"]
    assert header.parts == tuple(map(str, paths))
    assert header.file_size_bytes == sum(path.stat().st_size for path in paths)
    assert header.notes == ()


def test_one_part_alone_can_be_asked_for(split: Callable[..., list[Path]]) -> None:
    header = read_gguf(split()[1], follow_parts=False)
    assert [tensor.name for tensor in header.tensors] == ["t1"]
    assert header.parts == ()


def test_missing_parts_are_notes(split: Callable[..., list[Path]]) -> None:
    paths = split()
    paths[1].unlink()
    header = read_gguf(paths[0])
    assert [tensor.name for tensor in header.tensors] == ["t0", "t2"]
    assert header.notes == ("1 of 3 parts missing: 2",)
    paths[0].unlink()
    header = read_gguf(paths[2])
    assert header.architecture is None
    assert header.notes == ("2 of 3 parts missing: 1, 2", "the first part holds the metadata and is missing")


def test_parts_may_be_named_by_the_caller(split: Callable[..., list[Path]], tmp_path: Path) -> None:
    # As blobs of a hub cache whose links cannot be followed from outside: their names say nothing.
    blobs = [path.rename(tmp_path / f"blob{number}") for number, path in enumerate(split())]
    assert read_gguf(blobs[1]).notes == (
        "2 of 3 parts missing: 1, 3",
        "the first part holds the metadata and is missing",
    )
    header = read_gguf(blobs[1], parts=[str(blob) for blob in blobs])
    assert header.architecture == "llama"
    assert len(header.tensors) == 3


def test_a_wrong_tensor_count_is_a_note(split: Callable[..., list[Path]]) -> None:
    header = read_gguf(split({0: {"split.tensors.count": ("i32", 7)}})[0])
    assert header.notes == ("split.tensors.count is 7, the parts hold 3 tensors",)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({1: {"split.no": ("u16", 0)}}, "two parts of it carry the same split.no"),
        ({1: {"split.count": ("u16", 4)}}, "split.count is 4"),
        ({0: {"split.no": ("u16", 3)}}, "split.no is 3 of 3 parts"),
        ({0: {"split.no": ("str", "0")}}, "split.no is '0' of 3 parts"),
        ({0: {"split.count": ("u16", 2)}}, "split.count is 2, but there are names for 3 parts"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(
    split: Callable[..., list[Path]], changes: dict[int, dict[str, Typed]], found: str
) -> None:
    with pytest.raises(ModelFileError, match=found):
        read_gguf(split(changes)[0])


def test_a_tensor_in_two_parts_is_refused(split: Callable[..., list[Path]], gguf_bytes: Writer, tmp_path: Path) -> None:
    paths = split()
    metadata = {"split.no": ("u16", 1), "split.count": ("u16", 3)}
    (tmp_path / paths[1].name).write_bytes(gguf_bytes(metadata, [("t0", 0, [1], 4)]))
    with pytest.raises(ModelFileError, match="two parts of it hold a tensor of the same name"):
        read_gguf(paths[0])


def test_a_file_that_is_not_split_has_no_parts(gguf_bytes: Writer, tmp_path: Path) -> None:
    path = tmp_path / "m-00001-of-00002.gguf"
    path.write_bytes(gguf_bytes({"split.count": ("u16", 1)}))
    assert read_gguf(path).parts == ()


def test_part_names() -> None:
    assert part_paths("/a/m-00002-of-00002.gguf") == ("/a/m-00001-of-00002.gguf", "/a/m-00002-of-00002.gguf")
    for name in ("m.gguf", "m-00003-of-00002.gguf", "m-00000-of-00002.gguf", "m-1-of-2.gguf", "m-00001-of-00002"):
        assert part_paths(name) == ()
