"""The ledger that `kvtop snapshot` prints on a terminal."""

from dataclasses import replace

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.frame import Frame
from kvtop.sources.demo import SCENARIOS
from kvtop.text import bytes_text
from kvtop.views.segment_table import SEGMENT_TABLE, label_of
from kvtop.views.text.ledger import ledger_text


def frame_of(name: str) -> Frame:
    chosen = next(it for it in SCENARIOS if it.name == name)
    history = History()
    analyse(history, chosen.at(7.0), "1")
    return analyse(history, chosen.at(8.0), "1")


@pytest.mark.parametrize("name", [it.name for it in SCENARIOS])
def test_every_server_and_every_figure_that_is_not_empty_is_there(name: str) -> None:
    frame = frame_of(name)
    text = ledger_text(frame)
    assert text.startswith(f"{frame.host}  ")
    for view in frame.devices:
        assert view.device.name in text
    for server in frame.servers:
        assert server.reading.id in text
        for split in server.splits:
            for segment, figure in split.memory.parts:
                if figure.value_bytes:
                    row = (
                        f"{SEGMENT_TABLE[segment].label:<21}{bytes_text(figure.value_bytes):>12}  {figure.basis.value}"
                    )
                    assert row in text
        assert all(finding.message[:60] in text for finding in server.findings)
    assert ("no server found" in text) == (not frame.servers)


def test_a_terminal_without_unicode_gets_ascii_and_names_drive_none() -> None:
    frame = frame_of("rtx4090_llamacpp")
    assert ledger_text(frame, ascii_only=True).isascii()
    hostile = ledger_text(replace(frame, host="h\x1b[2J"))
    assert "\x1b" not in hostile


def test_a_word_for_programs_has_one_for_people() -> None:
    assert [label_of(word) for word in ("kv_cache", "recurrent_state", "kv_cache_tokens", "total")] == [
        "KV cache",
        "recurrent state",
        "KV cache tokens",
        "total",
    ]
