"""The installer of the engines is never silent, and says what failed."""

import sys
from pathlib import Path

import pytest

from tests.engines import shown


def test_a_command_that_says_nothing_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "EVERY_SECONDS", 0.5)
    code = f"import time; open({str(tmp_path / 'x')!r}, 'wb').write(bytes(3 << 20)); time.sleep(3)"
    shown.run("fetching it", [sys.executable, "-c", code], grows=tmp_path)
    said = capsys.readouterr().out
    assert "still fetching it (0 min " in said
    assert "3 MiB so far" in said


def test_what_failed_is_told_with_its_last_words() -> None:
    code = "import sys; print('no such release'); sys.exit(3)"
    with pytest.raises(SystemExit, match=r"(?s)fetching it failed \(exit code 3\).*no such release.*Run this again"):
        shown.run("fetching it", [sys.executable, "-c", code])


def test_what_is_missing_is_told_before_anything_is_spent(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no-such-compiler is not installed: install one"):
        shown.need_program("no-such-compiler", remedy="install one")
    with pytest.raises(SystemExit, match="are needed"):
        shown.need_room(tmp_path, 1e9)
