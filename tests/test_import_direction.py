"""Imports run one way; big files are split. Both are read from the sources, so a wrong arrow cannot slip in."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from kvtop.verbs import VERBS

PACKAGE = Path(__file__).resolve().parents[1] / "kvtop"
GROUND_PLAN = {
    "domain": {"domain"},
    "io": {"domain", "io", "__version__"},
    "text": set(),
    "config": set(),
    "reporters": set(),
    "planning": {"domain", "text", "planning"},
    "sources": {"domain", "text", "io", "sources", "__version__"},
    "sources/engines": {"domain", "text", "sources", "planning"},
    "analysis": {"domain", "text", "planning", "analysis"},
    "views": {"domain", "text", "views", "__version__"},
    "app": {"domain", "io", "text", "config", "planning", "sources", "analysis", "app", "__version__"},
    "verbs": {
        *("domain", "io", "text", "config", "planning", "sources", "analysis", "views", "app", "verbs", "__version__"),
    },
    "cli": {"config", "verbs", "__version__"},
    "__main__": {"cli"},
    "__init__": set(),
}
"""What each room may import of kvtop. A room that is not listed may not exist."""
MOST_ROOMS = 12
MOST_FILES = 16
CROWDED = {"analysis/lint/rules", "sources/engines", "sources/demo", "verbs"}
"""Folders of one kind of thing, one file each: as many files as there are things."""
ONLY_IN = {
    "textual": "views/tui/",
    "rich": "views/tui/",
    "plotext": "views/tui/",
    "pynvml": "sources/devices/nvml",
    "httpx2": "sources/endpoints/http.py",
    "msgspec": "sources/recordings/",
    "zstandard": "sources/recordings/",
}
DATA_FILES = {"planning/llamacpp/options/table.py"}
LINE_LIMIT = 320


def modules() -> Iterator[tuple[str, ast.Module, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(text), text


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, "relative imports hide arrows"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(name: str) -> str:
    if name.startswith("sources/engines/"):
        return "sources/engines"
    return name.removesuffix(".py").split("/")[0]


def test_imports_run_one_way() -> None:
    wrong = []
    for name, tree, _ in modules():
        layer = layer_of(name)
        for target in imported(tree):
            parts = target.split(".")
            if parts[0] == "kvtop" and len(parts) > 1 and parts[1] not in GROUND_PLAN[layer]:
                wrong.append(f"{name} imports {target}")
    assert wrong == []


def test_no_two_neighbours_import_each_other() -> None:
    """In every folder, its files and the folders in it stand above one another: no circle, of two or of many."""
    arrows: dict[str, dict[str, set[str]]] = {}
    files = {name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): name for name, _, _ in modules()}
    for name, tree, _ in modules():
        for target in imported(tree):
            inner = target.removeprefix("kvtop.")
            found = files.get(inner) or files.get(inner.rpartition(".")[0])
            if not target.startswith("kvtop.") or found is None:
                continue
            here, there = name.split("/"), found.split("/")
            depth = next((i for i, pair in enumerate(zip(here, there, strict=False)) if pair[0] != pair[1]), None)
            if depth is not None and "__init__.py" not in {here[depth], there[depth]}:
                folder = arrows.setdefault("/".join(here[:depth]), {})
                folder.setdefault(here[depth], set()).add(there[depth])
    circles = {folder: circle for folder, graph in arrows.items() if (circle := _circle(graph))}
    assert circles == {"views/tui": {"app.py", "palette.py", "screens"}}, "those three name each other's types"


def _circle(graph: dict[str, set[str]]) -> set[str]:
    """What is left when whatever imports nothing that is left, or is imported by nothing, has been taken away."""
    left = {name: set(found) for name, found in graph.items()}
    for _ in range(len(graph) + 1):
        left = {name: below for name, found in left.items() if (below := found & left.keys())}
        named = {name for found in left.values() for name in found}
        left = {name: found for name, found in left.items() if name in named}
    return set(left)


def test_each_outside_library_has_its_one_place() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, tree, _ in modules()
        for target in imported(tree)
        if (place := ONLY_IN.get(target.split(".")[0])) is not None and not name.startswith(place)
    ]
    assert wrong == []


def test_no_file_outgrows_one_idea() -> None:
    long = [name for name, _, text in modules() if text.count("\n") > LINE_LIMIT and name not in DATA_FILES]
    assert long == []


def test_the_ground_plan_can_be_drawn_from_memory() -> None:
    rooms = {name.split("/")[0].removesuffix(".py") for name, _, _ in modules()} - {"__init__", "__main__"}
    assert rooms <= set(GROUND_PLAN)
    assert len(rooms) <= MOST_ROOMS


def test_no_folder_is_a_heap() -> None:
    folders = Counter(path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
    assert {name: files for name, files in folders.items() if files > MOST_FILES and name not in CROWDED} == {}


def test_a_file_of_verbs_is_a_command() -> None:
    files = {path.stem for path in (PACKAGE / "verbs").glob("*.py")} - {"__init__"}
    assert files == {verb.module for verb in VERBS} | {"dashboard"}, "what several of them need is in command_line"


def test_no_class_name_stands_for_two_things() -> None:
    places: dict[str, list[str]] = {}
    for name, tree, _ in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(name)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_the_page_of_the_house_names_every_room_and_no_other() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`kvtop/([\w/.]+?)/?`", page))
    assert {name for name in named if not (PACKAGE / name).exists()} == set()
    folders = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("__init__.py")}
    rooms = {name for name in folders if name != "." and name.count("/") <= 1}
    assert rooms - named == set()
