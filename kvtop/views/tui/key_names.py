"""Names of keys as a person may write them in a keymap: "q", "?", "ctrl+s", "f5", "full_stop"."""

import unicodedata

from textual.keys import KEY_NAME_REPLACEMENTS, key_to_character

_EDITING = ("escape", "enter", "tab", "backspace", "delete", "insert", "space")
_MOVING = ("home", "end", "pageup", "pagedown", "up", "down", "left", "right")
_NAMED = frozenset((*_EDITING, *_MOVING, *(f"f{number}" for number in range(1, 25))))
_MODIFIERS = ("ctrl+", "shift+", "alt+", "super+", "hyper+", "meta+")


def normal_name(written: str) -> str | None:
    """The one name that Textual has for this key ("?" is "question_mark"); None when there is no such key."""
    plain, modifiers = written.strip(), ""
    while (found := next((word for word in _MODIFIERS if plain.startswith(word)), None)) is not None:
        modifiers, plain = modifiers + found, plain.removeprefix(found)
    if len(plain) == 1 and not plain.isalnum():
        spelled = unicodedata.name(plain, "").lower().replace("-", "_").replace(" ", "_")
        plain = KEY_NAME_REPLACEMENTS.get(spelled, spelled)
    if plain in _NAMED or (plain and (plain in KEY_NAME_REPLACEMENTS.values() or key_to_character(plain))):
        return modifiers + plain
    return None
