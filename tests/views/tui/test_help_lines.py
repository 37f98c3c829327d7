import pytest

from kvtop.views.tui.keys import HELP, KEYS, SCREEN_NAMES, shown_keys
from kvtop.views.tui.screens.help.page import help_lines


@pytest.mark.parametrize("width", [55, 75, 125, 245])
@pytest.mark.parametrize("screen", sorted(set(SCREEN_NAMES) - {HELP}))
def test_every_key_of_the_screen_is_told_once_and_whole(screen: str, width: int) -> None:
    lines = ["".join(piece.text for piece in line) for line in help_lines(screen, shown_keys({}), "0.1.0", width)]
    assert all(len(line) <= width and "…" not in line for line in lines)
    told = " ".join(" ".join(line.split("│")[0].split()) for line in lines)
    for key in KEYS:
        times = sum(other.meaning == key.meaning and other.on(screen) for other in KEYS)
        assert told.count(key.meaning) >= times
        assert key.on(screen) or key.meaning not in told or any(key.meaning in o.meaning for o in KEYS if o.on(screen))
