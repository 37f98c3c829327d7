import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual import events
from textual.command import CommandList
from textual.pilot import Pilot

from kvtop.domain.answers.mark import Mark
from kvtop.domain.frame import Frame
from kvtop.views.tui.app import KvtopApp
from kvtop.views.tui.keys import KEYS
from kvtop.views.tui.screens import SCREENS
from kvtop.views.tui.screens.screen import KvtopScreen
from kvtop.views.tui.state.server_order import ORDERS
from kvtop.views.tui.themes.theme_files import load_themes, themes_dir
from kvtop.views.tui.widgets.canvas import Canvas

Scenes = dict[str, Callable[[], Frame]]


async def until(pilot: Pilot[None], holds: Callable[[], bool]) -> None:
    """Lets the app work until that holds; 30 seconds, for a machine with much to do."""
    ends = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < ends
        await pilot.pause(0.02)


def found_commands(app: KvtopApp) -> list[str]:
    """What the palette shows now."""
    commands = app.screen.query_one(CommandList)
    return [str(option.prompt) for option in commands.options]


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
        app.selection.sort("server")  # as they were found
        app.selection.put(0, app.frame)
        await pilot.press("down")
        assert app.selection.server_id == frame.servers[1].reading.id
        go.set()
        await until(pilot, lambda: app.frame is turned)
        assert app.selection.server_id == frame.servers[1].reading.id
        assert app.selection.index(app.frame) == 3
        go.set()
        await until(pilot, lambda: app.frame is without)
        assert app.selection.index(app.frame) == 3


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
    app = KvtopApp(play, keymap={"sources": "x"})
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("8")
        assert app.current_mode == "overview"
        await pilot.press("x")
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
        await until(pilot, lambda: "old" in app.screen._compositor.render_strips()[0].text)
        assert app.silent_seconds > 0.1


async def test_words_filter_the_table_and_escape_drops_them(scenes: Scenes) -> None:
    play, _ = played(scenes["h100x8"]())
    app = KvtopApp(play)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("slash", *"q8_0 gpu3", "enter")
        assert [view.reading.id for view in app.selection.servers(app.frame)] == ["127.0.0.1:8013"]
        assert app.selection.server_id == "127.0.0.1:8013"
        await pilot.press("escape")
        assert len(app.selection.servers(app.frame)) == 32
        assert app.selection.server_id == "127.0.0.1:8013"


async def test_keys_of_the_filter_are_words_and_not_actions(scenes: Scenes) -> None:
    play, _ = played(scenes["h100x8"]())
    app = KvtopApp(play)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("slash", *"q1")
        assert app.selection.words == "q1"
        assert app.current_mode == "overview"


async def test_the_table_goes_by_each_column_in_turn(scenes: Scenes) -> None:
    play, _ = played(scenes["h100x8"]())
    app = KvtopApp(play)
    async with app.run_test(size=(100, 30)) as pilot:
        seen = []
        for _ in ORDERS:
            seen.append(app.selection.order.name)
            await pilot.press("o")
        assert seen == [order.name for order in ORDERS]
        assert app.selection.order is ORDERS[0]


async def test_the_palette_has_every_useful_action_servers_and_themes(scenes: Scenes) -> None:
    play, _ = played(scenes["rtx4090"]())
    app = KvtopApp(play)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        titles = [command.title for command in app.get_system_commands(app.screen)]
        useful = [key.meaning for key in KEYS if isinstance(app.screen, KvtopScreen) and app.screen.is_useful(key)]
        assert set(useful) - set(titles) == {"Quit", "Every action by its name"}
        assert "Theme amber" in titles
        await pilot.press("ctrl+p", *"ledger of one")
        await until(pilot, lambda: len(found_commands(app)) == 1)
        await pilot.press("enter")
        await until(pilot, lambda: app.current_mode == "server")


async def test_the_palette_runs_an_action_of_the_screen(scenes: Scenes) -> None:
    play, _ = played(scenes["h100x8"]())
    app = KvtopApp(play)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+p", *"order the servers")
        await until(pilot, lambda: len(found_commands(app)) == 1)
        await pilot.press("enter")
        await until(pilot, lambda: app.selection.order is ORDERS[1])


async def test_the_mouse_selects_opens_sorts_and_presses_keys(scenes: Scenes) -> None:
    play, _ = played(scenes["h100x8"]())
    app = KvtopApp(play)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        await pilot.click("#servers", offset=(5, 3))
        assert app.selection.server_id == "127.0.0.1:8003"
        head = app.screen.query_one("#table-head", Canvas).text()
        await pilot.click("#table-head", offset=(head.index("memory"), 0))
        assert app.selection.order.name == "memory"
        await pilot.click("#servers", offset=(5, 1), times=2)
        assert app.current_mode == "server"
        footer = app.screen.query_one("#footer", Canvas).text()
        await pilot.click("#footer", offset=(footer.index("overview"), 0))
        assert app.current_mode == "overview"
        header = app.screen.query_one("#header", Canvas).text()
        await pilot.click("#header", offset=(header.index("finding"), 0))
        assert app.current_mode == "findings"
        await pilot.click("#page", offset=(5, 4))
        await pilot.press("enter")
        assert app.current_mode == "server"
        assert app.selection.server_id == "127.0.0.1:8007"


async def test_the_wheel_scrolls_the_table(scenes: Scenes) -> None:
    play, _ = played(scenes["h100x8"]())
    app = KvtopApp(play)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        scroll = app.screen.query_one("#servers-scroll")
        servers = app.screen.query_one("#servers")
        await pilot._post_mouse_events([events.MouseScrollDown], servers, (5, 1))
        await until(pilot, lambda: scroll.scroll_offset.y > 0)


async def test_paused_holds_the_picture_and_goes_on_with_the_newest(scenes: Scenes) -> None:
    first = scenes["rtx4090"]()
    play, go = played(first, replace(first, host="elsewhere"))
    app = KvtopApp(play)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("p")
        go.set()
        await until(pilot, lambda: app._newest is not first)
        assert app.frame == first
        assert "paused" in app.screen.query_one("#header", Canvas).text()
        await pilot.press("p")
        assert app.frame is not None
        assert app.frame.host == "elsewhere"


async def test_only_useful_keys_are_in_the_footer(scenes: Scenes) -> None:
    play, _ = played(scenes["host_only"]())
    app = KvtopApp(play)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        footer = app.screen.query_one("#footer", Canvas).text()
        for word in ("open", "filter", "sort", "server", "recording", "overview"):
            assert word not in footer
        for key, words in (("2", "No server found."), ("7", "kvtop replay FILE")):
            await pilot.press(key)
            assert words in app.screen.query_one("#page", Canvas).text()


class FakePlayer:
    """A recording of a hundred seconds that does what it is told. A mock: views may not read the files of one."""

    name, duration_seconds, speed = "monday.kvtop", 100.0, 1.0

    def __init__(self) -> None:
        self.position_seconds, self.is_playing = 10.0, True

    def marks(self) -> tuple[Mark, ...]:
        return (Mark(5.0, "KV201 nearly full"), Mark(40.0, "KV104 idle slots"))

    problem = ""

    async def to_finding(self, direction: int, looking: Callable[[float], None]) -> bool:
        looking(61.0)
        ahead = [mark.at_seconds for mark in self.marks() if (mark.at_seconds - self.position_seconds) * direction > 0]
        if ahead:
            self.position_seconds = min(ahead) if direction > 0 else max(ahead)
        return bool(ahead)

    def toggle(self) -> None:
        self.is_playing = not self.is_playing

    def step(self, samples: int) -> None:
        self.is_playing, self.position_seconds = False, self.position_seconds + samples

    def seek(self, seconds: float) -> None:
        self.position_seconds = min(max(seconds, 0.0), self.duration_seconds)

    def set_speed(self, speed: float) -> None:
        self.speed = speed


async def test_the_recording_plays_steps_seeks_and_jumps(scenes: Scenes) -> None:
    play, _ = played(scenes["rtx4090"]())
    player = FakePlayer()
    app = KvtopApp(play, player=player)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("7", "space")
        assert (app.current_mode, player.is_playing) == ("recording", False)
        await pilot.press("full_stop", "full_stop", "comma")
        assert player.position_seconds == 11.0
        await pilot.press("n")
        await until(pilot, lambda: player.position_seconds == 40.0)
        await pilot.press("n", "N")
        await until(pilot, lambda: player.position_seconds == 5.0)
        await pilot.press("right", "plus")
        assert (player.position_seconds, player.speed) == (10.0, 2.0)
        await pilot.click("#page", offset=(94, 1))
        assert player.position_seconds > 95
        text = app.screen.query_one("#page", Canvas).text()
        assert "KV104 idle slots" in text
        assert "of 1:40" in text


@pytest.mark.parametrize("name", SCREENS)
async def test_any_screen_can_be_the_first_one(scenes: Scenes, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of the first screen are mounted before it is on the stack: none may ask for the screen in front."""
    monkeypatch.setattr(KvtopApp, "DEFAULT_MODE", name)
    play, _ = played(scenes["rtx4090"]())
    app = KvtopApp(play)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.frame is not None and app.screen.query_one("#header", Canvas).changes > 0)
        assert isinstance(app.screen, KvtopScreen)
        assert (app.current_mode, app.screen.key) == (name, name)


async def test_the_words_of_the_filter_are_seen_below_a_full_table(scenes: Scenes) -> None:
    play, _ = played(scenes["h100x8"]())
    app = KvtopApp(play)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("slash", *"gpu")
        await until(pilot, lambda: any("│ gpu " in strip.text for strip in app.screen._compositor.render_strips()))


async def test_a_finding_is_copied_explained_and_opened(scenes: Scenes) -> None:
    play, _ = played(scenes["rtx4090"]())
    app = KvtopApp(play)
    app.explain = lambda code: f"{code}: why, and what it costs"
    async with app.run_test(size=(80, 30)) as pilot:
        await pilot.press("5", "y")
        assert app.clipboard == "-np 3 gives each slot 21845 tokens in the same memory."
        await pilot.press("x")
        assert "KV104: why, and what it costs" in shown(app)
        await pilot.press("x")
        assert "why, and what it costs" not in shown(app)
        await pilot.press("enter")
        assert app.current_mode == "server", "nothing can be planned here"


def shown(app: KvtopApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


async def test_what_is_recorded_or_played_stands_in_the_header(scenes: Scenes) -> None:
    play, _ = played(scenes["rtx4090"]())
    app = KvtopApp(play, player=HeldPlayer())
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        assert "REPLAY 4:07/10:00" in shown(app)
        await pilot.press("space", "full_stop")
        assert (app.player.toggled, app.player.stepped) == (1, 1)  # type: ignore[union-attr]  # the mock's own
        app.recorder = RunningRecorder()
        app.draw_screen()
        await pilot.pause()
        assert "● REC 0:43" in shown(app)


class HeldPlayer:
    """A recording in its middle. A mock: the header needs no file."""

    name, duration_seconds, position_seconds, is_playing, speed, problem = "monday.kvtop", 600.0, 247.0, False, 1.0, ""
    toggled = stepped = 0

    def marks(self) -> tuple[Mark, ...]:
        return ()

    def toggle(self) -> None:
        self.toggled += 1

    def step(self, samples: int) -> None:
        self.stepped += samples

    def seek(self, seconds: float) -> None: ...

    def set_speed(self, speed: float) -> None: ...

    async def to_finding(self, direction: int, looking: Callable[[float], None]) -> bool:
        return bool(direction) and looking is None


class RunningRecorder:
    """A recording of 43 seconds. A mock: nothing is written."""

    recording_seconds: float | None = 43.0

    def save_snapshot(self, frame: Frame) -> str:
        return frame.host

    def toggle_recording(self) -> str:
        return "ended"
