"""Every key of the dashboard, once: bindings, footer, help and docs/keys.md are all made from this table."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

OVERVIEW, SERVER, SOURCES, HELP = "overview", "server", "sources", "help"
SCREEN_NAMES = {OVERVIEW: "Overview", SERVER: "Server", SOURCES: "Sources", HELP: "Help"}


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

    def on(self, screen: str) -> bool:
        """Does this key do anything there?"""
        return not self.screens or screen in self.screens


KEYS: tuple[Key, ...] = (
    Key("quit", "q", "q", "leave", "quit", "Quit; the servers run on"),
    Key("interrupt", "ctrl+c", "Ctrl-C", "leave", "", "Quit"),
    Key("help", "question_mark,f1", "?", "help", "help", "Keys and the meaning of every glyph; again to go back"),
    Key("open", "enter", "Enter", "open", "open", "Open the server under the cursor", (OVERVIEW,)),
    Key("back", "escape", "Esc", "back", "back", "Back up", (SERVER, SOURCES, HELP)),
    Key("up", "up,k", "↑ k", "move(-1)", "", "Up one server, or one line"),
    Key("down", "down,j", "↓ j", "move(1)", "", "Down one server, or one line"),
    Key("page-up", "pageup", "PgUp", "move(-10)", "", "Up ten"),
    Key("page-down", "pagedown", "PgDn", "move(10)", "", "Down ten"),
    Key("first", "home,g", "Home g", "move(-100000)", "", "To the first"),
    Key("last", "end,G", "End G", "move(100000)", "", "To the last"),
    Key("previous", "left", "←", "neighbour(-1)", "", "The server before this one", (SERVER,)),
    Key("next", "right", "→", "neighbour(1)", "next server", "The server after this one", (SERVER,)),
    Key("overview", "1", "1", "show('overview')", "overview", "Overview: devices and servers"),
    Key("server", "2", "2", "show('server')", "server", "Server: the ledger of one server, and who says so"),
    Key("sources", "8", "8", "show('sources')", "sources", "Sources: what could not be read, and what to do"),
    Key("theme", "t", "t", "next_theme", "theme", "Next theme"),
    Key("suspend", "ctrl+z", "Ctrl-Z", "suspend_process", "", "Suspend; fg brings it back"),
)
"""A key with `screens` is bound on those screens and its action is their method; any other is the app's. On its own
screen a key may take one of the app's (`k` is up, but the cache type of K on What-if)."""


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
            for name in keymap.get(key.id, key.keys).split(","):
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
    ours = set(_clashes({}))
    said: set[tuple[str, str, str]] = set()
    for clash in _clashes(keymap):
        if (clash not in ours or not clash.is_cover) and clash.words not in said:
            said.add(clash.words)
            name, taken, owner = clash.words
            problems.append(f"[keys] {taken}: {name!r} is already taken by {owner!r} on {SCREEN_NAMES[clash.screen]}")
    return tuple(problems)


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
    lines += ["", 'A keymap in the configuration names the id and the new key: `quit = "x"`.', ""]
    return "\n".join(lines)
