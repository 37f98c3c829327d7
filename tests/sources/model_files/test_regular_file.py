"""Files that are no files, and files that change under the reader."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from kvtop.domain.model_file import ModelFileError
from kvtop.sources.model_files import gguf
from kvtop.sources.model_files.gguf import read_gguf
from kvtop.sources.model_files.regular_file import open_regular


def test_refuses_what_is_no_readable_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it for reading would wait for a writer
    for path, found in (
        (tmp_path, "not a regular file|Is a directory"),
        (tmp_path / "pipe", "not a regular file"),
        (tmp_path / "absent", "No such file or directory"),
        (tmp_path / "nul\0", "null"),
    ):
        with pytest.raises(ModelFileError, match=found):
            read_gguf(path)


def test_errors_while_reading_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"12345")
    with open_regular(str(path)) as (file, size_bytes):
        assert (file.read(), size_bytes) == (b"12345", 5)
    with pytest.raises(ModelFileError, match=r"/m: Input/output error"), open_regular(str(path)):
        raise OSError(5, "Input/output error")


def test_a_file_that_shrinks_while_it_is_opened_is_refused(
    gguf_bytes: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A memory map would end the process here (SIGBUS)."""
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes({"tokenizer.ggml.tokens": ("arr:str", ["word"] * 20_000), "last": ("u8", 1)}))
    size_bytes = path.stat().st_size
    with path.open("rb+") as file:
        file.truncate(100_000)
        monkeypatch.setattr(gguf, "open_regular", lambda _: nullcontext((file, size_bytes)))
        with pytest.raises(ModelFileError, match="truncated while it was read: byte"):
            read_gguf(path)
