import asyncio
from collections.abc import AsyncIterator, Callable
from functools import cache
from pathlib import Path

import pytest
from textual.pilot import Pilot

from kvtop.analysis.analyse import History, analyse
from kvtop.app.what_if_session import WhatIfSession
from kvtop.domain.answers.mark import Mark
from kvtop.domain.frame import Frame
from kvtop.domain.sample import Sample
from kvtop.sources.demo import scenario
from kvtop.views.tui.app import KvtopApp

Scenes = dict[str, Callable[[], Frame]]
Golden = Callable[[Path, str], None]

GOLDENS = Path(__file__).parent / "goldens"
SCREENSHOTS = Path(__file__).parents[3] / "screenshots"
SIZES = ((40, 12), (60, 20), (80, 24), (100, 30), (130, 40), (200, 60), (250, 80))


class HeldClock(KvtopApp):
    """Time stands still: on a slow machine the picture would grow old before it is taken."""

    CSS_PATH = str(Path(__file__).parents[3] / "kvtop" / "views" / "tui" / "kvtop.tcss")

    def __init__(self, *arguments: object, **settings: object) -> None:
        super().__init__(*arguments, **settings)  # type: ignore[arg-type]  # as the app's own
        self.all_told = asyncio.Event()
        """Set once every frame has been taken."""

    def _tick(self) -> None: ...


def app_of(frame: Frame | None, **settings: bool | str) -> HeldClock:
    """The dashboard, with one frame and then silence."""

    async def frames() -> AsyncIterator[Frame]:
        if frame is not None:
            yield frame
        app.all_told.set()
        await asyncio.get_running_loop().create_future()

    app = HeldClock(frames, **settings)
    return app


class HeldPlayer:
    """A recording held in the middle, for its picture. A mock: a picture needs no file."""

    name, duration_seconds, position_seconds, is_playing, speed, problem = "monday.kvtop", 600.0, 247.0, True, 2.0, ""

    def marks(self) -> tuple[Mark, ...]:
        return (
            Mark(61.0, "KVT013 on 127.0.0.1:8080: -np divides the context"),
            Mark(182.0, "KVT031 on 127.0.0.1:8000"),
        )

    def toggle(self) -> None: ...

    def step(self, samples: int) -> None: ...

    def seek(self, seconds: float) -> None: ...

    def set_speed(self, speed: float) -> None: ...

    async def to_finding(self, direction: int, looking: Callable[[float], None]) -> bool:
        looking(float(direction))
        return False


@cache
def minutes(host: str) -> tuple[tuple[Sample, Frame], ...]:
    """The first minutes of a scenario, every second tick."""
    history, chosen = History(), scenario(host)
    samples = [chosen.at(float(second)) for second in range(0, 150, 2)]
    return tuple((sample, analyse(history, sample, "0.1.0")) for sample in samples)


def app_over(host: str, theme: str) -> HeldClock:
    """The dashboard over the first minutes of a scenario, held there."""

    what_if_session = WhatIfSession({"XDG_DATA_HOME": "/nonexistent"})

    async def frames() -> AsyncIterator[Frame]:
        for sample, frame in minutes(host):
            what_if_session.note(sample, frame)
            yield frame
        app.all_told.set()
        await asyncio.get_running_loop().create_future()

    app = HeldClock(frames, theme_name=theme, player=HeldPlayer(), what_if_session=what_if_session)
    return app


async def drawn(app: HeldClock, size: tuple[int, int], keys: tuple[str, ...] = ()) -> tuple[str, str]:
    """(the screen as text, as SVG) after these keys."""
    async with app.run_test(size=size) as pilot:
        await app.all_told.wait()
        await pilot.pause()
        for key in keys:
            await pilot.press(key)
        return await text_at_rest(app, pilot), app.export_screenshot(title="kvtop")


async def text_at_rest(app: HeldClock, pilot: Pilot[None]) -> str:
    """The screen as text, once it does not change any more."""
    text, before = "", None
    while text != before:
        # The pilot waits a second at most for the app to come to rest: a slow machine needs more.
        await pilot.pause()
        before = text
        text = "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips()) + "\n"
    return text


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("scene", ["rtx4090", "h100x8", "odd_states", "driver_hung"])
async def test_overview_at_every_size(
    scene: str, size: tuple[int, int], scenes: Scenes, same_as_golden: Golden
) -> None:
    text, _ = await drawn(app_of(scenes[scene]()), size)
    same_as_golden(GOLDENS / f"{scene}-{size[0]}x{size[1]}.txt", text)


@pytest.mark.parametrize(
    ("name", "scene", "keys", "size"),
    [
        ("server", "rtx4090", ("enter",), (100, 60)),
        ("server-narrow", "rtx4090", ("enter",), (60, 20)),
        ("server-wide", "rtx4090", ("enter",), (200, 60)),
        ("server-slots", "rtx4090", ("enter", "e", "e"), (80, 24)),
        ("server-history", "rtx4090", ("enter", "e", "e", "e"), (80, 24)),
        ("no-derivation", "rtx4090", ("enter", "d"), (80, 24)),
        ("findings", "h100x8", ("5",), (80, 24)),
        ("no-findings", "host_only", ("5",), (80, 24)),
        ("devices", "driver_hung", ("6",), (80, 40)),
        ("devices-narrow", "rtx4090", ("6",), (60, 20)),
        ("no-devices", "nothing", ("6",), (80, 24)),
        ("servers-alone", "h100x8", ("e",), (80, 24)),
        ("devices-alone", "h100x8", ("e", "e"), (80, 24)),
        ("filtered", "h100x8", ("slash", *"fp8", "enter", "o"), (80, 24)),
        ("filtered-out", "h100x8", ("slash", *"zzz", "enter"), (80, 24)),
        ("palette", "rtx4090", ("ctrl+p",), (80, 24)),
        ("locked", "odd_states", ("down", "down", "enter"), (80, 24)),
        ("sources", "driver_hung", ("8",), (80, 24)),
        ("help", "rtx4090", ("question_mark",), (80, 60)),
        ("host-only", "host_only", (), (80, 24)),
        ("nothing", "nothing", (), (80, 24)),
        ("looking", "looking", (), (80, 24)),
    ],
)
async def test_pages(
    name: str, scene: str, keys: tuple[str, ...], size: tuple[int, int], scenes: Scenes, same_as_golden: Golden
) -> None:
    text, _ = await drawn(app_of(scenes[scene]()), size, keys)
    same_as_golden(GOLDENS / f"{name}.txt", text)


@pytest.mark.parametrize(
    ("name", "host", "keys", "size", "theme"),
    [
        ("overview", "rtx4090_llamacpp", (), (120, 36), "dark"),
        ("overview-light", "rtx4090_llamacpp", (), (120, 36), "light"),
        ("eight-cards", "h100x8_vllm_tp", (), (130, 40), "dark"),
        ("busy", "busy_32", ("o",), (130, 48), "dark"),
        ("server", "rtx4090_llamacpp", ("enter",), (160, 48), "dark"),
        ("derivation", "rtx4090_llamacpp", ("enter", "d"), (110, 36), "dark"),
        ("history", "filling_up", ("down", "enter", "e", "e", "e"), (110, 36), "dark"),
        ("findings", "magic_combo_trap", ("5",), (110, 36), "dark"),
        ("what-if", "rtx4090_llamacpp", ("w", *("right_square_bracket",) * 2), (110, 40), "dark"),
        ("frontier", "rtx4090_llamacpp", ("4", "right", "up"), (110, 24), "dark"),
        ("devices", "mig_slices", ("6",), (110, 44), "dark"),
        ("recording", "filling_up", ("7",), (110, 24), "dark"),
        ("sources", "gpu_lost", ("8",), (110, 28), "dark"),
        ("palette", "rtx4090_llamacpp", ("ctrl+p",), (110, 32), "dark"),
        ("help", "rtx4090_llamacpp", ("question_mark",), (110, 60), "dark"),
        ("nothing", "nothing", (), (110, 24), "dark"),
        ("mac", "mac_mlx", (), (120, 36), "solarized"),
        ("radeon", "rx7900xtx", (), (120, 36), "dark"),
        ("strix-halo", "strix_halo", (), (120, 36), "dark"),
        ("colour-blind-safe", "mixed_host", (), (120, 36), "colour-blind-safe"),
    ],
)
async def test_screenshots(
    name: str, host: str, keys: tuple[str, ...], size: tuple[int, int], theme: str, same_as_golden: Golden
) -> None:
    _, svg = await drawn(app_over(host, theme), size, keys)
    same_as_golden(SCREENSHOTS / f"{name}.svg", svg)


@pytest.mark.parametrize("scene", ["rtx4090", "h100x8", "odd_states", "driver_hung", "host_only"])
async def test_ascii_means_ascii(scene: str, scenes: Scenes) -> None:
    app, seen = app_of(scenes[scene](), ascii_only=True), {}
    async with app.run_test(size=(100, 60)) as pilot:
        await app.all_told.wait()
        seen["overview"] = await text_at_rest(app, pilot)
        # The keys, and those that lead back to the overview.
        for keys, back in (
            (("enter",), "1"),
            (("5",), "1"),
            (("6",), "1"),
            (("8",), "1"),
            (("question_mark",), "escape"),
            (("slash", "a"), "escape"),
            (("ctrl+p",), "escape"),
        ):
            await pilot.press(*keys)
            seen["".join(keys)] = await text_at_rest(app, pilot)
            await pilot.press(back)
            assert await text_at_rest(app, pilot) == seen["overview"], keys
    assert {key: strange for key, text in seen.items() if (strange := {it for it in text if not it.isascii()})} == {}
    assert all(seen[key] != seen["overview"] for key in ("5", "6", "8", "question_mark", "ctrl+p"))


async def test_before_the_first_frame_it_says_what_it_does() -> None:
    text, _ = await drawn(app_of(None), (80, 24))
    assert "Looking for devices and servers" in text


async def test_every_part_is_in_the_legend(scenes: Scenes) -> None:
    text, _ = await drawn(app_of(scenes["h100x8"]()), (60, 20))
    for word in (
        "weights",
        "KV used",
        "KV reserved",
        "recurrent",
        "compute",
        "runtime",
        "unattributed",
        "other",
        "free",
    ):
        assert word in text
