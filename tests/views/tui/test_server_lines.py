"""The table of servers: what its columns show at every width."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.frame import Frame
from kvtop.domain.headroom import Concern, Verdict
from kvtop.sources.demo import SCENARIOS, Scenario
from kvtop.views.tui.state.history import Trails
from kvtop.views.tui.widgets.server_table import server_rows, table_head, table_lines

Scenes = dict[str, Callable[[], Frame]]
WIDTHS = (55, 75, 95, 125, 195, 245)


def table(frame: Frame, width: int) -> list[str]:
    rows = server_rows(frame.servers, Trails())
    lines = [table_head(rows, width, ""), *table_lines(rows, width, 0)]
    return ["".join(piece.text for piece in line) for line in lines]


def framed(chosen: Scenario) -> Frame:
    history = History()
    for second in (0.0, 4.0, 60.0):
        frame = analyse(history, chosen.at(second), "0.1.0")
    return frame


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("chosen", SCENARIOS, ids=lambda it: it.name)
def test_no_number_and_no_verdict_is_cut_off(chosen: Scenario, width: int) -> None:
    frame = framed(chosen)
    for row, line in zip(server_rows(frame.servers, Trails()), table(frame, width)[1:], strict=True):
        assert row.memory in line
        assert row.verdict[0] in line
        assert row.kv_use in line
        assert len(line) <= width + 1


@pytest.mark.parametrize("width", WIDTHS)
def test_servers_that_would_read_the_same_are_told_by_their_address(scenes: Scenes, width: int) -> None:
    (view,) = scenes["rtx4090"]().servers
    other = replace(view, reading=replace(view.reading, id="127.0.0.1:8081" if width < 60 else "10.0.0.7:8080"))
    _, one, two = table(replace(scenes["rtx4090"](), servers=(view, other)), width)
    assert ":8080 " in one
    assert (":8081 " if width < 60 else "10.0.0.7:8080 ") in two


def test_one_server_spends_no_room_on_its_address(scenes: Scenes) -> None:
    head, line = table(scenes["rtx4090"](), 75)
    assert "server" not in head
    assert ":8080" not in line
    assert "server" in table(scenes["rtx4090"](), 125)[0]


@pytest.mark.parametrize("words", ["requests wait", "its card is lost", "the pool of all slots is full", "no answer"])
def test_every_verdict_has_a_form_for_the_column(scenes: Scenes, words: str) -> None:
    frame = scenes["rtx4090"]()
    view = replace(frame.servers[0], verdict=Verdict(words, Concern.BAD))
    assert all("…" not in line for line in table(replace(frame, servers=(view,)), 245)[1:])
