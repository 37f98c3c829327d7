"""The tests are a package like any other: folders that can be imported, and nothing loaded from a path."""

import ast
from pathlib import Path

HERE = Path(__file__).parent
LOADERS = {"importlib.util.spec_from_file_location", "sys.path.insert", "sys.path.append"}
MODULES = sorted(path for path in HERE.rglob("*.py") if "fixtures" not in path.parts)


def test_every_folder_with_modules_is_a_package() -> None:
    assert [str(path.parent) for path in MODULES if not path.with_name("__init__.py").exists()] == []


def test_helpers_are_imported_and_not_loaded_from_paths() -> None:
    """A helper that is loaded from a path has no types, and is lost when it moves."""
    loaded = [
        f"{path.relative_to(HERE)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in LOADERS
    ]
    assert loaded == []
