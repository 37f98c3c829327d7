"""The What-if and Frontier screens over hosts of the demo: keys, numbers, goldens."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.app.what_if_session import WhatIfSession
from kvtop.domain.answers.what_if import WhatIfAnswer
from kvtop.domain.frame import Frame
from kvtop.sources.demo import scenario
from kvtop.views.tui.app import KvtopApp
from kvtop.views.tui.keys import FRONTIER, KEYS, WHAT_IF
from kvtop.views.tui.widgets.canvas import Canvas

GOLDENS = Path(__file__).parent / "goldens"


def demo_app(name: str, *, ascii_only: bool = False) -> tuple[KvtopApp, WhatIfSession]:
    history, what_if_session = History(), WhatIfSession({"XDG_DATA_HOME": "/nonexistent"})

    async def frames() -> AsyncIterator[Frame]:
        for second in (7.0, 8.0):
            sample = scenario(name).at(second)
            frame = analyse(history, sample, "0.1.0")
            what_if_session.note(sample, frame)
        yield frame
        await asyncio.get_running_loop().create_future()

    # One frame, and an interval so long that it does not grow old on a slow machine.
    return KvtopApp(
        frames, interval_seconds=3600.0, what_if_session=what_if_session, ascii_only=ascii_only
    ), what_if_session


async def page(name: str, keys: tuple[str, ...], size: tuple[int, int] = (100, 44), *, ascii_only: bool = False) -> str:
    app, _ = demo_app(name, ascii_only=ascii_only)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        for key in keys:
            await pilot.press(key)
        text, before = "", None
        while text != before:
            # The pilot waits a second at most for the app to come to rest: a slow machine needs more.
            await pilot.pause()
            before = text
            text = "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips()) + "\n"
        return text


@pytest.mark.parametrize(
    ("golden", "name", "keys", "size"),
    [
        ("what-if", "rtx4090_llamacpp", ("w",), (100, 44)),
        ("what-if-turned", "rtx4090_llamacpp", ("w", "right_square_bracket", "right_square_bracket", "k"), (100, 44)),
        ("what-if-narrow", "rtx4090_llamacpp", ("w", "right_square_bracket"), (60, 20)),
        ("what-if-refused", "rtx4090_llamacpp", ("w", "f"), (80, 24)),
        ("frontier", "rtx4090_llamacpp", ("4", "right", "down"), (100, 30)),
        ("frontier-narrow", "rtx4090_llamacpp", ("4",), (60, 20)),
        ("recommend", "rtx4090_llamacpp", ("w", "r", "end"), (100, 44)),
    ],
)
async def test_pages(
    golden: str,
    name: str,
    keys: tuple[str, ...],
    size: tuple[int, int],
    same_as_golden: Callable[[Path, str], None],
) -> None:
    same_as_golden(GOLDENS / f"{golden}.txt", await page(name, keys, size))


async def test_every_key_of_the_screen_turns_what_it_says_and_zero_goes_back() -> None:
    app, what_if_session = demo_app("rtx4090_llamacpp")
    async with app.run_test(size=(100, 44)) as pilot:
        await pilot.press("w")
        server_id = app.selected()
        assert server_id is not None
        name = server_id.reading.id

        def changes() -> tuple[tuple[str, str | None], ...]:
            found = what_if_session.ask(name)
            assert isinstance(found, WhatIfAnswer)
            return found.comparison.what_if.changes

        turning = [key for key in KEYS if key.screens == (WHAT_IF,) and key.action.startswith("turn")]
        assert len(turning) == 14
        for key in turning:
            await pilot.press(key.keys.split(",")[0])
            assert changes(), key.id
            await pilot.press("0")
            assert not changes()


async def test_zero_takes_back_a_length_that_is_only_looked_at() -> None:
    """MLX has no option for it: nothing changes in the command, and it is turned all the same."""
    app, what_if_session = demo_app("mac_mlx")
    async with app.run_test(size=(100, 44)) as pilot:
        await pilot.press("w")
        await pilot.pause()

        def length() -> str:
            found = what_if_session.ask("127.0.0.1:8080")
            assert isinstance(found, WhatIfAnswer)
            return next(knob.then for knob in found.knobs if knob.knob == "context")

        start = length()
        await pilot.press("left_square_bracket")
        assert length() != start
        await pilot.press("0")
        assert length() == start


async def test_kept_sequences_and_what_a_change_brings_are_told() -> None:
    turned = await page("mac_mlx", ("w", "k", "s", "B", "B", "B"))
    assert "up to 5 finished ones are kept: up to 25.0 GiB more" in turned
    assert "--kv-bits has no effect on a sequence of 32768 tokens" in turned
    assert "--kv-bits has no effect" not in await page("mac_mlx", ("w", "k", "s"))


async def test_enter_adopts_the_cell_and_the_numbers_are_the_same() -> None:
    app, what_if_session = demo_app("rtx4090_llamacpp")
    async with app.run_test(size=(100, 44)) as pilot:
        await pilot.press("4")
        await pilot.pause()
        await pilot.press("down", "left", "enter")
        await pilot.pause()
        assert app.current_mode == WHAT_IF
        found = what_if_session.ask("127.0.0.1:8080")
        assert isinstance(found, WhatIfAnswer)
        assert found.is_changed
        assert found.command in app.screen.query_one("#page", Canvas).text().replace("\n", " ") or found.command
        await pilot.press("4")
        assert app.current_mode == FRONTIER


async def test_the_mouse_moves_the_cell_adopts_it_and_turns_a_dial() -> None:
    app, what_if_session = demo_app("rtx4090_llamacpp")
    async with app.run_test(size=(100, 44)) as pilot:
        await pilot.press("4")
        await pilot.pause()
        rows = app.screen.query_one("#page", Canvas).text().split("\n")
        place = rows[4].index("fits") + 1
        await pilot.click("#page", offset=(place, 4))
        await pilot.pause()
        assert "[fits]" in app.screen.query_one("#page", Canvas).text().split("\n")[4]
        await pilot.click("#page", offset=(place, 4))
        await pilot.pause()
        assert app.current_mode == WHAT_IF
        await pilot.press("0")
        assert "slots 4" in app.screen.query_one("#page", Canvas).text()
        rows = app.screen.query_one("#page", Canvas).text().split("\n")
        line = next(number for number, row in enumerate(rows) if "slots 4" in row)
        await pilot.click("#page", offset=(rows[line].index("slots 4") - 4, line))
        await pilot.pause()
        found = what_if_session.ask("127.0.0.1:8080")
        assert isinstance(found, WhatIfAnswer)
        assert found.is_changed
        assert "slots 4 → 5" in app.screen.query_one("#page", Canvas).text()


async def test_the_command_is_copied() -> None:
    app, what_if_session = demo_app("rtx4090_llamacpp")
    async with app.run_test(size=(100, 44)) as pilot:
        await pilot.press("w", "k", "y")
        found = what_if_session.ask("127.0.0.1:8080")
        assert isinstance(found, WhatIfAnswer)
        assert app.clipboard == found.command
        assert "--cache-type-k" in app.clipboard


async def test_without_a_server_the_screens_are_not_offered_but_say_what_to_do() -> None:
    app, _ = demo_app("nothing")
    async with app.run_test(size=(100, 44)) as pilot:
        await pilot.pause()
        footer = app.screen.query_one("#footer", Canvas).text()
        assert not any(word in footer for word in ("what if", "frontier"))
        for key, mode in (("w", WHAT_IF), ("4", FRONTIER)):
            await pilot.press(key)
            assert app.current_mode == mode
            assert "kvtop plan -- llama-server" in app.screen.query_one("#page", Canvas).text()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("h100x8_vllm_tp", ("KV cache type auto → fp8", "each of gpu0 to gpu3", "--kv-cache-dtype fp8")),
        ("mac_mlx", ("bits of the cache 16 → 8", "one at a time", "--kv-bits 8")),
    ],
)
async def test_other_engines(name: str, words: tuple[str, ...]) -> None:
    shown = await page(name, ("w", "k"), (100, 60))
    assert all(word in shown for word in words)


async def test_ascii_only() -> None:
    assert (await page("rtx4090_llamacpp", ("w", "k"), ascii_only=True)).isascii()
    assert (await page("rtx4090_llamacpp", ("4",), ascii_only=True)).isascii()
