"""Every key of the dashboard, once: bindings, footer, help and docs/keys.md are all made from this table."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kvtop.views.tui.key_names import normal_name

OVERVIEW, SERVER, WHAT_IF, FRONTIER, FINDINGS, DEVICES, RECORDING, SOURCES, HELP = (
    *("overview", "server", "what-if", "frontier", "findings", "devices", "recording", "sources", "help"),
)
SCREEN_NAMES = {
    OVERVIEW: "Overview",
    SERVER: "Server",
    WHAT_IF: "What if",
    FRONTIER: "Frontier",
    FINDINGS: "Findings",
    DEVICES: "Devices",
    RECORDING: "Recording",
    SOURCES: "Sources",
    HELP: "Help",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One command. `id` is what a user's keymap names; `keys` are Textual key names, separated by commas.

    `shown` is how the key is printed; `footer` is "" when the key is too ordinary to spend room on.
    `screens` is empty for a key that works everywhere.
    """

    id: str
    keys: str
    shown: str
    action: str
    footer: str
    meaning: str
    screens: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """The action with who does it, for a click or the palette."""
        return f"{'screen' if self.screens else 'app'}.{self.action}"

    def on(self, screen: str) -> bool:
        """Does this key do anything there?"""
        return not self.screens or screen in self.screens


_BELOW = (SERVER, WHAT_IF, FRONTIER, FINDINGS, DEVICES, RECORDING, SOURCES, HELP)
"""Screens that Esc leads up from."""

KEYS: tuple[Key, ...] = (
    Key("quit", "q", "q", "leave", "quit", "Quit; the servers run on"),
    Key("interrupt", "ctrl+c", "Ctrl-C", "leave", "", "Quit"),
    Key("help", "question_mark,f1", "?", "help", "help", "Keys and the meaning of every glyph; again to close"),
    Key(
        "open",
        "enter",
        "Enter",
        "open",
        "open",
        "Open the server; of a finding, its what-if",
        (OVERVIEW, FINDINGS),
    ),
    Key("close", "escape", "Esc", "close", "close", "Drop the filter and the expanded panel", (OVERVIEW,)),
    Key("back", "escape", "Esc", "back", "back", "Back: from an expanded panel, then to the overview", _BELOW),
    Key("filter", "slash", "/", "filter", "filter", "Show only servers that match", (OVERVIEW,)),
    Key("sort", "o", "o", "sort", "sort", "Order the servers by the next column", (OVERVIEW,)),
    Key("expand", "e", "e", "expand", "expand", "Give the next panel the whole screen", (OVERVIEW, SERVER)),
    Key("derivation", "d", "d", "derivation", "derivation", "Derivation of the computed figures", (SERVER,)),
    Key("zoom-in", "plus,equals_sign", "+", "zoom(-1)", "zoom", "A shorter time in the plots", (SERVER,)),
    Key("zoom-out", "minus", "-", "zoom(1)", "", "A longer time in the plots", (SERVER,)),
    Key("previous", "left", "←", "neighbour(-1)", "", "The previous server", (SERVER,)),
    Key("next", "right", "→", "neighbour(1)", "next server", "The next server", (SERVER,)),
    Key("type-k", "k", "k", "turn('type_k', 1)", "cache types", "The next cache type for K", (WHAT_IF,)),
    Key("type-k-back", "K", "K", "turn('type_k', -1)", "", "The previous cache type for K", (WHAT_IF,)),
    Key("type-v", "v", "v", "turn('type_v', 1)", "", "The next cache type for V (MLX: values a scale)", (WHAT_IF,)),
    Key("type-v-back", "V", "V", "turn('type_v', -1)", "", "The previous cache type for V", (WHAT_IF,)),
    Key("halve", "left_square_bracket", "[", "turn('context', -1)", "context", "Half the context", (WHAT_IF,)),
    Key("double", "right_square_bracket", "]", "turn('context', 1)", "", "Twice the context", (WHAT_IF,)),
    Key("shorter", "minus", "-", "turn('context_fine', -1)", "", "A little less context", (WHAT_IF,)),
    Key("longer", "equals_sign,plus", "=", "turn('context_fine', 1)", "", "A little more context", (WHAT_IF,)),
    Key("slots", "s", "s", "turn('slots', 1)", "slots", "One more slot (vLLM: twice the ranks)", (WHAT_IF,)),
    Key("slots-back", "S", "S", "turn('slots', -1)", "", "One slot fewer (vLLM: half the ranks)", (WHAT_IF,)),
    Key("unified", "u", "u", "turn('unified', 1)", "", "One pool for all slots, or one each", (WHAT_IF,)),
    Key("batch-back", "b", "b", "turn('batch', -1)", "", "Half the micro-batch (vLLM: less of the card)", (WHAT_IF,)),
    Key("batch", "B", "B", "turn('batch', 1)", "", "Twice the micro-batch (vLLM: more of the card)", (WHAT_IF,)),
    Key("flash", "f", "f", "turn('flash', 1)", "", "Flash attention on or off", (WHAT_IF,)),
    Key("reset", "0", "0", "reset", "reset", "Back to how the server runs", (WHAT_IF,)),
    Key("copy", "y", "y", "copy", "copy", "Copy the command with the changes, or the fix", (WHAT_IF, FINDINGS)),
    Key("explain", "x", "x", "explain", "explain", "The page of the rule; again to hide it", (FINDINGS,)),
    Key("recommend", "r", "r", "recommend", "recommend", "Configurations worth trying", (WHAT_IF,)),
    Key("less", "left", "←", "column(-1)", "", "A column to the left", (FRONTIER,)),
    Key("more", "right", "→", "column(1)", "move", "A column to the right", (FRONTIER,)),
    Key("adopt", "enter", "Enter", "adopt", "adopt", "Make the cell under the cursor the what-if", (FRONTIER,)),
    Key("play", "space", "Space", "play", "play", "Play or pause the recording"),
    Key("step-back", "comma", ",", "step(-1)", "", "One sample back of the recording"),
    Key("step", "full_stop", ".", "step(1)", "step", "One sample on in the recording"),
    Key("skip-back", "left", "←", "skip(-1)", "", "Back by a twentieth of the recording", (RECORDING,)),
    Key("skip", "right", "→", "skip(1)", "skip", "Forward by a twentieth of the recording", (RECORDING,)),
    Key("mark-back", "N", "N", "mark(-1)", "", "To the previous finding", (RECORDING,)),
    Key("mark", "n", "n", "mark(1)", "next finding", "To the next finding", (RECORDING,)),
    Key("slower", "minus", "-", "speed(-1)", "", "Slower", (RECORDING,)),
    Key("faster", "plus,equals_sign", "+", "speed(1)", "faster", "Faster", (RECORDING,)),
    Key("up", "up,k", "↑ k", "move(-1)", "", "Up one server, or one line"),
    Key("down", "down,j", "↓ j", "move(1)", "", "Down one server, or one line"),
    Key("page-up", "pageup", "PgUp", "move(-10)", "", "Up ten"),
    Key("page-down", "pagedown", "PgDn", "move(10)", "", "Down ten"),
    Key("first", "home,g", "Home g", "move(-100000)", "", "To the first"),
    Key("last", "end,G", "End G", "move(100000)", "", "To the last"),
    Key("overview", "1", "1", "show('overview')", "overview", "Overview: devices and servers"),
    Key(
        "server", "2", "2", "show('server')", "server", "Server: the ledger of one server, every figure with its source"
    ),
    Key("what-if", "3,w", "3 w", "show('what-if')", "what if", "What if: other options, side by side with now"),
    Key("frontier", "4", "4", "show('frontier')", "frontier", "Frontier: which contexts fit with which cache types"),
    Key("findings", "5,l", "5 l", "show('findings')", "findings", "Findings: what deserves attention, and the fix"),
    Key("devices", "6", "6", "show('devices')", "devices", "Devices: temperature, power, clocks and processes"),
    Key("recording", "7", "7", "show('recording')", "recording", "Recording: play, step, seek"),
    Key("sources", "8", "8", "show('sources')", "sources", "Sources: what could not be read, and what to do"),
    Key("pause", "p", "p", "pause", "", "Pause the display; again to resume"),
    Key("snapshot", "S", "S", "snapshot", "", "Write a snapshot here: JSON, Markdown and SVG"),
    Key("record", "R", "R", "record", "", "Record to a file here; again to stop"),
    Key("theme", "t", "t", "next_theme", "theme", "Next theme"),
    Key("palette", "ctrl+p,colon", "Ctrl-P :", "command_palette", "", "Every action by its name"),
    Key("suspend", "ctrl+z", "Ctrl-Z", "suspend_process", "", "Suspend; fg brings it back"),
)
"""A key with `screens` is bound on those screens and its action is their method; any other is the app's. On its own
screen a key may take one of the app's (`k` is up, but the cache type of K on What-if)."""


_YIELDS: Mapping[str, tuple[str, str]] = {"explain": ("x", "X")}
"""Key id -> (its key, the one it has instead where a user's keymap took that before it was ours)."""


def with_room_for(keymap: Mapping[str, str]) -> dict[str, str]:
    """The user's keymap, and in it our keys that give way to it."""
    taken = {name.strip() for names in keymap.values() for name in names.split(",")}
    moved = {key_id: other for key_id, (ours, other) in _YIELDS.items() if ours in taken and key_id not in keymap}
    return {**moved, **keymap}


def shown_keys(keymap: Mapping[str, str]) -> dict[str, str]:
    """Key id -> how it is printed, with the user's own keys in place of ours."""
    return {key.id: keymap.get(key.id, key.shown) for key in KEYS}


@dataclass(frozen=True, slots=True)
class _Clash:
    """Two keys of one name on a screen. `is_cover`: the first is the screen's own and hides the app's."""

    screen: str
    words: tuple[str, str, str]
    """(key name, id of the one that gets nothing, id of the one that has it)"""
    is_cover: bool


def _clashes(keymap: Mapping[str, str]) -> Iterator[_Clash]:
    for screen in SCREEN_NAMES:
        owner: dict[str, Key] = {}
        for key in sorted((key for key in KEYS if key.on(screen)), key=lambda key: not key.screens):
            for name in (normal_name(each) or each for each in keymap.get(key.id, key.keys).split(",")):
                first = owner.setdefault(name, key)
                if first.id != key.id:
                    yield _Clash(screen, (name, key.id, first.id), bool(first.screens) and not key.screens)


def check_keymap(keymap: Mapping[str, str]) -> tuple[str, ...]:
    """What is wrong with a user's keymap, in words; empty when nothing is.

    A clash is judged on each screen: two keys that work there may not share a name. That a screen takes one of the
    app's keys is a clash only where the keymap made it so; our own table does it on purpose.
    """
    problems = [
        f"unknown key id {name!r} in [keys]; accepted: {', '.join(key.id for key in KEYS)}"
        for name in keymap
        if name not in {key.id for key in KEYS}
    ]
    problems += [
        f"[keys] {key_id}: no key is called {name!r}; for example: x, ?, ctrl+s, f5, pagedown"
        for key_id, names in keymap.items()
        for name in names.split(",")
        if normal_name(name) is None
    ]
    ours = set(_clashes({}))
    said: set[tuple[str, str, str]] = set()
    for clash in _clashes(with_room_for(keymap)):
        if (clash not in ours or not clash.is_cover) and clash.words not in said:
            said.add(clash.words)
            name, taken, owner = clash.words
            problems.append(f"[keys] {taken}: {name!r} is already taken by {owner!r} on {SCREEN_NAMES[clash.screen]}")
    return tuple(problems)


def usable_keymap(keymap: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """(what to bind, what is wrong): nothing of a keymap with a fault is bound."""
    wrong = check_keymap(keymap)
    return {} if wrong else with_room_for(keymap), wrong


def keys_page() -> str:
    """docs/keys.md, word for word."""
    lines = [
        "# Keys",
        "",
        "Made from the key table in `kvtop/views/tui/keys.py`; a test compares.",
        "",
        "| key | id | where | what it does |",
        "| --- | --- | --- | --- |",
    ]
    for key in KEYS:
        where = ", ".join(SCREEN_NAMES[name] for name in key.screens) or "everywhere"
        lines.append(f"| {key.shown} | `{key.id}` | {where} | {key.meaning} |")
    told = 'The table `[keys]` of the configuration maps an id to other keys: `quit = "x"`, or `quit = "x,ctrl+q"`.'
    lines += ["", told, ""]
    return "\n".join(lines)
