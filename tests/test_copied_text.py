"""Where a copied text goes besides the terminal."""

import stat
from pathlib import Path

import pytest

from kvtop.io.copied_text import CopiedText


def test_it_is_in_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    copied = CopiedText({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert copied.text == ""
    said = copied.keep("llama-server -c 4096")
    path = tmp_path / "kvtop" / "copied.txt"
    assert said == f"in {path}"
    assert path.read_text() == "llama-server -c 4096\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    copied.keep("shorter")
    assert (copied.text, path.read_text()) == ("shorter", "shorter\n")


def test_tmux_is_given_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmux = tmp_path / "tmux"
    tmux.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\ncat > {tmp_path}/buffer\n')
    tmux.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    said = CopiedText({"XDG_RUNTIME_DIR": str(tmp_path), "TMUX": "/tmp/tmux-0/default,1,0"}).keep("é $HOME")
    assert said.startswith("in tmux's buffer and in ")
    assert ((tmp_path / "words").read_text(), (tmp_path / "buffer").read_text()) == ("load-buffer -\n", "é $HOME")


def test_where_nothing_can_be_kept_nothing_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "kvtop").write_text("a file in the way")
    copied = CopiedText({"XDG_RUNTIME_DIR": str(tmp_path), "TMUX": "x"})
    assert copied.keep("text") == ""
    assert copied.text == "text"
