import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

from kvtop.domain.frame import Frame
from kvtop.views.tui.app import KvtopApp
from kvtop.views.tui.theme_files import load_themes, themes_dir

Scenes = dict[str, Callable[[], Frame]]


def played(*frames: Frame) -> tuple[Callable[[], AsyncIterator[Frame]], asyncio.Event]:
    """An iterator that gives the first frame at once and each other one when the event is set."""
    go = asyncio.Event()

    async def play() -> AsyncIterator[Frame]:
        for index, frame in enumerate(frames):
            if index:
                await go.wait()
                go.clear()
            yield frame
        await asyncio.get_running_loop().create_future()

    return play, go


async def test_the_cursor_follows_its_server_and_outlives_it(scenes: Scenes) -> None:
    frame = scenes["odd_states"]()
    turned = replace(frame, servers=frame.servers[::-1])
    without = replace(frame, servers=(frame.servers[0], *frame.servers[2:]))
    play, go = played(frame, turned, without)
    app = KvtopApp(play)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("down")
        assert app.selection.server_id == frame.servers[1].reading.id
        go.set()
        await pilot.pause(0.05)
        assert app.selection.server_id == frame.servers[1].reading.id
        assert app.selected_index() == 3
        go.set()
        await pilot.pause(0.05)
        assert app.selected_index() == 3


async def test_enter_goes_in_and_escape_comes_up(scenes: Scenes) -> None:
    play, _ = played(scenes["rtx4090"]())
    app = KvtopApp(play)
    async with app.run_test(size=(80, 24)) as pilot:
        for key, mode in (
            ("enter", "server"),
            ("question_mark", "help"),
            ("escape", "server"),
            ("escape", "overview"),
            ("8", "sources"),
            ("1", "overview"),
        ):
            await pilot.press(key)
            assert app.current_mode == mode


async def test_a_users_key_replaces_ours(scenes: Scenes) -> None:
    play, _ = played(scenes["rtx4090"]())
    app = KvtopApp(play, keymap={"sources": "s"})
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("8")
        assert app.current_mode == "overview"
        await pilot.press("s")
        assert app.current_mode == "sources"


async def test_a_broken_user_theme_is_told_and_nothing_else(scenes: Scenes, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('primary = "no colour"')
    (tmp_path / "good.toml").write_text('primary = "#336699"')
    play, _ = played(scenes["rtx4090"]())
    app = KvtopApp(play, theme_name="good", user_themes=tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert app.theme == "good"
        assert ["mine.toml" in note.message for note in app._notifications] == [True]


async def test_every_theme_can_be_drawn(scenes: Scenes) -> None:
    play, _ = played(scenes["rtx4090"]())
    app = KvtopApp(play)
    async with app.run_test(size=(80, 24)) as pilot:
        seen = set()
        for _ in load_themes(themes_dir()).themes:
            await pilot.press("t")
            await pilot.pause()
            seen.add(app.theme)
        assert len(seen) == len(load_themes(themes_dir()).themes)


async def test_no_color_wins_over_the_theme(scenes: Scenes) -> None:
    play, _ = played(scenes["rtx4090"]())
    app = KvtopApp(play, theme_name="amber", no_color=True)
    async with app.run_test(size=(80, 24)):
        assert app.current_theme.ansi


async def test_silence_is_told_as_age(scenes: Scenes) -> None:
    play, _ = played(scenes["rtx4090"]())
    app = KvtopApp(play, interval_seconds=0.05)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause(0.3)
        assert app.silent_seconds > 0.1
        assert "old" in app.screen._compositor.render_strips()[0].text
