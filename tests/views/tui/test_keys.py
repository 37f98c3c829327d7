from pathlib import Path

from kvtop.views.tui.keys import KEYS, check_keymap, keys_page


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
