from collections.abc import Callable
from dataclasses import replace

import pytest

from kvtop.domain.device import DeviceState
from kvtop.domain.frame import Frame
from kvtop.domain.server import ServerState
from kvtop.views.tui.screens.sources.page import sources_lines
from kvtop.views.tui.state.unread import unread_of

Scenes = dict[str, Callable[[], Frame]]


def sections(frame: Frame) -> dict[str, str]:
    """Head -> what stands below it."""
    found: dict[str, str] = {}
    for line in ("".join(piece.text for piece in line) for line in sources_lines(frame, 100)):
        if line.startswith("── "):
            head = line.strip("─ ")
            found[head] = ""
        else:
            found[head] += line + "\n"
    return found


@pytest.mark.parametrize("state", [ServerState.UNREACHABLE, ServerState.LOCKED, ServerState.ERROR])
def test_a_server_that_gave_no_answer_has_not_answered(scenes: Scenes, state: ServerState) -> None:
    frame = scenes["rtx4090"]()
    (view,) = frame.servers
    frame = replace(frame, servers=(replace(view, reading=replace(view.reading, state=state, hint="it said so")),))
    told = sections(frame)
    assert "127.0.0.1:8080" in told["Could not be read (1)"]
    assert "it said so" in told["Could not be read (1)"]
    assert "→" in told["Could not be read (1)"]
    assert "127.0.0.1:8080" not in told["Has answered (2)"]


def test_a_lost_card_has_not_answered_and_an_old_one_is_told_as_old(scenes: Scenes) -> None:
    frame = scenes["rtx4090"]()
    card, host = frame.devices
    lost = replace(card, device=replace(card.device, state=DeviceState.LOST, note="fell off the bus"), age_seconds=9.0)
    told = sections(replace(frame, devices=(lost, host)))
    assert "fell off the bus" in told["Could not be read (1)"]
    assert "gpu0" not in told["Has answered (2)"]
    stale = replace(card, device=replace(card.device, state=DeviceState.STALE), age_seconds=9.0)
    told = sections(replace(frame, devices=(stale, host)))
    assert "▲ gpu0" in told["Has answered (3)"]
    assert "9s ago" in told["Has answered (3)"]


def test_nothing_is_told_twice(scenes: Scenes) -> None:
    frame = scenes["driver_hung"]()
    assert len({failure.source for failure in unread_of(frame)}) == len(unread_of(frame))
    assert len(unread_of(frame)) >= len(frame.failures)
