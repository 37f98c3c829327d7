from collections.abc import Callable
from dataclasses import replace

from kvtop.domain.frame import Frame, ServerView
from kvtop.domain.headroom import Headroom
from kvtop.views.tui.state.history import RECENT_SECONDS, ServerHistory, Trails
from kvtop.views.tui.widgets.plot_lines import nice_top, plot_lines

Scenes = dict[str, Callable[[], Frame]]


def view_of(scenes: Scenes, ratio: float | None, left: int | None = None) -> ServerView:
    (view,) = scenes["rtx4090"]().servers
    return replace(view, kv_cache=replace(view.kv_cache, used_ratio=ratio), headroom=Headroom(left))


def test_a_trend_goes_by_half_minutes_on_a_fixed_scale(scenes: Scenes) -> None:
    trail = ServerHistory()
    for second in range(120):
        trail.note(1200.0 + second, view_of(scenes, (None, 0.0, 0.5, 1.0)[second // 30]))
    assert trail.trend(4) == " ▁▅█"
    assert trail.trend(6) == "   ▁▅█"


def test_a_long_run_stays_small_and_keeps_the_old_days_coarsely(scenes: Scenes) -> None:
    trail = ServerHistory()
    for second in range(7200):
        trail.note(float(second), view_of(scenes, 0.5))
    points = list(trail.since(0.0))
    assert len(points) < RECENT_SECONDS + 7200 / 30 + 2
    assert points[0].at < 60
    assert [point.at for point in points] == sorted({point.at for point in points})
    assert [point.at for point in points[-3:]] == [7197.0, 7198.0, 7199.0]


def test_unknown_is_no_number(scenes: Scenes) -> None:
    trail = ServerHistory()
    trail.note(1.0, view_of(scenes, None))
    (point,) = trail.since(0.0)
    assert point.kv_ratio is None
    assert point.headroom is None


def test_winding_back_forgets_what_lies_ahead(scenes: Scenes) -> None:
    trail = ServerHistory()
    for second in (1.0, 2.0, 3.0, 2.0):
        trail.note(second, view_of(scenes, second / 10))
    assert [(point.at, point.kv_ratio) for point in trail.since(0.0)] == [(1.0, 0.1), (2.0, 0.2)]


def test_headroom_is_told_in_one_unit_and_a_gap_is_a_gap(scenes: Scenes) -> None:
    trail, view = ServerHistory(), view_of(scenes, 0.5)
    for second, left in enumerate((None, 9000, None, 8000)):
        trail.note(float(second), replace(view, headroom=Headroom(left, (("gpu0", 5 << 30),))))
        assert trail.headroom_is_bytes is (second == 0)
    assert [point.headroom for point in trail.since(0.0)] == [None, 9000.0, None, 8000.0]


def test_headroom_without_tokens_is_in_bytes(scenes: Scenes) -> None:
    trail = ServerHistory()
    trail.note(1.0, replace(view_of(scenes, 0.5), headroom=Headroom(None, (("gpu0", 5 << 30), ("gpu1", 3 << 30)))))
    assert trail.headroom_is_bytes
    assert [point.headroom for point in trail.since(0.0)] == [float(3 << 30)]


def test_a_server_that_is_gone_takes_its_trail_with_it(scenes: Scenes) -> None:
    trails, frame = Trails(), scenes["rtx4090"]()
    trails.note(frame)
    assert trails.of(frame.servers[0].reading.id).newest == frame.taken_at
    trails.note(replace(frame, servers=()))
    assert trails.of(frame.servers[0].reading.id).newest == 0.0


def test_a_plot_is_as_large_as_asked_and_says_its_scale() -> None:
    curve = [(float(second), second / 100) for second in range(100)]
    lines = ["".join(piece.text for piece in line) for line in plot_lines("KV use", curve, str, 1.0, 60.0, 150, 8)]
    assert len(lines) == 8
    assert {len(line) for line in lines[1:]} == {150}
    assert lines[0].startswith("KV use  0.99")
    assert lines[1].lstrip().startswith("1.0")
    assert lines[-1].split() == ["1m", "ago", "now"]
    assert any("⠀" < character <= "⣿" for character in "".join(lines))


def test_a_plot_of_nothing_known_is_empty_and_asks() -> None:
    lines = plot_lines("KV use", [(1.0, None), (2.0, None)], str, 1.0, 60.0, 60, 6)
    text = "\n".join("".join(piece.text for piece in line) for line in lines)
    assert "KV use  ?" in text
    assert not any("⠀" < character <= "⣿" for character in text)


def test_the_top_of_a_plot_is_a_round_number() -> None:
    assert [nice_top([value]) for value in (0.5, 1.0, 3.0, 7.0, 96.0, 101.0, 1001.0)] == [1, 1, 5, 10, 100, 200, 2000]
    assert nice_top([None]) == 1.0
