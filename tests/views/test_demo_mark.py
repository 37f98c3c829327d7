"""An invented host says so wherever it is shown or written; a measured one does not."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import kvtop.views.tui.app  # noqa: F401  before its widgets, which know its screens
from kvtop.analysis.analyse import History, analyse
from kvtop.cli import main
from kvtop.domain.frame import Frame
from kvtop.sources.demo import SCENARIOS
from kvtop.views.demo_mark import DEMO_MARK, DEMO_SENTENCE
from kvtop.views.export.metrics.exposition import openmetrics, text_format
from kvtop.views.export.metrics.families import families
from kvtop.views.export.snapshot.formats import FORMATS, render
from kvtop.views.text.ledger import ledger_text
from kvtop.views.text.plain_lines import Announcer
from kvtop.views.tui.screens.header_footer import Pace, header_line


def frame_of(index: int, *, is_demo: bool = True) -> Frame:
    return analyse(History(), replace(SCENARIOS[index].at(8.0), is_demo=is_demo), "1")


@pytest.mark.parametrize("index", range(len(SCENARIOS)), ids=[it.name for it in SCENARIOS])
def test_every_scenario_is_marked(index: int) -> None:
    assert SCENARIOS[index].at(0.0).is_demo
    assert frame_of(index).is_demo


SIGNS = {
    "json": '"is_demo": true',
    "csv": "is_demo",
    "prometheus": "kvtop_demo 1",
    "markdown": DEMO_SENTENCE,
    "svg": DEMO_MARK,
    "html": DEMO_SENTENCE,
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_says_so(form: str) -> None:
    said = render(frame_of(0), form)
    assert SIGNS.get(form, DEMO_MARK) in said
    measured = render(frame_of(0, is_demo=False), form)
    assert measured != said
    assert DEMO_MARK not in measured
    if form == "csv":
        assert all(row.endswith(",true") for row in said.splitlines()[1:])
        assert all(row.endswith(",false") for row in measured.splitlines()[1:])


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_the_header_says_so_at_every_width(width: int) -> None:
    pace = Pace(1.0, is_paused=True, silent_seconds=9.0)
    assert DEMO_MARK in "".join(piece.text for piece in header_line(frame_of(0), pace, width))
    measured = header_line(frame_of(0, is_demo=False), pace, width)
    assert DEMO_MARK not in "".join(piece.text for piece in measured)


def test_text_metrics_and_lines_for_screen_readers_say_so() -> None:
    frame, measured = frame_of(0), frame_of(0, is_demo=False)
    assert next(Announcer().lines(frame)) == DEMO_SENTENCE
    assert DEMO_SENTENCE not in list(Announcer().lines(measured))
    assert DEMO_SENTENCE in ledger_text(frame)
    assert DEMO_SENTENCE not in ledger_text(measured)
    for written in (text_format, openmetrics):
        assert "\nkvtop_demo 1" in written(families(frame))
        assert "kvtop_demo" not in written(families(measured))


def test_verbs_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    for verb in ("doctor", "report", "record"):
        monkeypatch.setattr(f"kvtop.verbs.{verb}.leave", left.append)
    main(["doctor", "--demo"])
    assert DEMO_SENTENCE in capsys.readouterr().out
    main(["doctor", "--demo", "--json"])
    assert json.loads(capsys.readouterr().out)["is_demo"] is True
    main(["lint", "--demo"])
    assert DEMO_SENTENCE in capsys.readouterr().err
    archive = tmp_path / "report.kvtop.zip"
    main(["report", "--demo", "--seconds", "3", "-o", str(archive)])
    assert DEMO_SENTENCE in capsys.readouterr().err
    with zipfile.ZipFile(io.BytesIO(archive.read_bytes())) as parts:
        for name in parts.namelist():
            if not name.endswith(".kvtop") and name != "system.txt":  # which is about this machine
                said = parts.read(name).decode()
                assert DEMO_MARK in said or '"is_demo": true' in said, name
    main(["replay", str(archive), "--json"])
    assert json.loads(capsys.readouterr().out)["is_demo"] is True, "a recording of a demo stays one"
    assert len(left) == 3
