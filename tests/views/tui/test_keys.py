from pathlib import Path

import pytest

from kvtop.views.tui import keys
from kvtop.views.tui.key_names import normal_name
from kvtop.views.tui.keys import KEYS, OVERVIEW, SERVER, SOURCES, Key, check_keymap, keys_page, with_room_for
from kvtop.views.tui.screens import SCREENS


def test_a_newer_key_of_ours_gives_way_to_a_users() -> None:
    assert check_keymap({"quit": "x"}) == ()
    assert with_room_for({"quit": "x"}) == {"explain": "X", "quit": "x"}
    assert with_room_for({"quit": "z"}) == {"quit": "z"}
    assert len(check_keymap({"quit": "x", "explain": "x"})) == 1


def test_the_page_is_the_table() -> None:
    page = Path(__file__).parents[3] / "docs" / "keys.md"
    assert page.read_text(encoding="utf-8") == keys_page()


def test_our_own_keys_do_not_clash() -> None:
    assert check_keymap({}) == ()
    assert len({key.id for key in KEYS}) == len(KEYS)


def test_a_wrong_keymap_is_told() -> None:
    (unknown,) = check_keymap({"quitt": "x"})
    assert "quitt" in unknown
    assert "quit" in unknown
    (clash,) = check_keymap({"quit": "t"})
    assert "'t' is already taken by 'quit'" in clash


def test_two_screens_may_use_one_key_and_a_screen_may_take_the_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    table = (
        Key("up", "up,k", "", "move(-1)", "", ""),
        Key("one", "k", "", "one", "", "", (SERVER,)),
        Key("two", "x", "", "two", "", "", (SERVER,)),
        Key("three", "x", "", "three", "", "", (SOURCES,)),
    )
    monkeypatch.setattr(keys, "KEYS", table)
    assert check_keymap({}) == ()
    assert check_keymap({"two": "y"}) == ()
    (clash,) = check_keymap({"two": "k"})
    assert "'k' is already taken by 'one' on Server" in clash
    # A user's own key that a screen would swallow there is told too.
    on_server, on_sources = check_keymap({"up": "x"})
    assert "'x' is already taken by 'two' on Server" in on_server
    assert "'x' is already taken by 'three' on Sources" in on_sources


def test_a_screens_keys_are_methods_of_that_screen() -> None:
    for key in KEYS:
        for screen in key.screens:
            assert hasattr(SCREENS[screen], "action_" + key.action.split("(")[0]), (screen, key.id)


def test_the_overview_has_no_way_back() -> None:
    assert not any(key.id == "back" and key.on(OVERVIEW) for key in KEYS)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("q", "q"),
        ("?", "question_mark"),
        ("/", "slash"),
        ("ctrl+s", "ctrl+s"),
        ("f5", "f5"),
        ("full_stop", "full_stop"),
        ("Ä", "Ä"),
        ("crtl+x", None),
        ("page_down", None),
        ("", None),
    ],
)
def test_names_of_keys(written: str, normal: str | None) -> None:
    assert normal_name(written) == normal


def test_a_key_that_does_not_exist_is_told_and_two_names_of_one_key_clash() -> None:
    (wrong,) = check_keymap({"quit": "crtl+x"})
    assert "no key is called 'crtl+x'" in wrong
    (clash,) = check_keymap({"quit": "?"})
    assert "already taken by 'help'" in clash or "already taken by 'quit'" in clash
