"""Examples in the documentation are run, and every environment variable that kvtop reads is in it."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from kvtop.cli import main
from tests.models.recorded_gguf import write_recorded

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```console\n\$ (?P<command>kvtop [^\n]*)\n(?P<output>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)(?:#[^)]*)?\)")
_EXAMPLES = [
    pytest.param(match["command"], match["output"], id=f"{page.name}-{number}")
    for page in PAGES
    for number, match in enumerate(_BLOCK.finditer(page.read_text(encoding="utf-8")))
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models that the examples name."""
    folder = tmp_path_factory.mktemp("models")
    write_recorded(folder / "gpt-oss-20b.gguf", "gpt-oss-20b")
    return folder


@pytest.mark.parametrize(("command", "output"), _EXAMPLES)
def test_an_example_prints_what_the_page_shows(
    command: str, output: str, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(models)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(models))
    monkeypatch.setenv("XDG_DATA_HOME", str(models))
    main(shlex.split(command)[1:])
    assert capsys.readouterr().out.strip("\n") == output.strip("\n")


def test_the_readme_and_the_quick_start_have_an_example() -> None:
    assert {"README.md", "quickstart.md"} <= {str(it.id).rsplit("-", 1)[0] for it in _EXAMPLES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    missing = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert missing == []


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if page.name not in {"README.md"}] != []
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"({page.name})" not in index] == ["README.md"]


def test_the_configuration_page_names_every_variable_that_the_code_reads() -> None:
    read = {
        node.value
        for path in (ROOT / "kvtop").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.fullmatch(
            r"KVTOP_[A-Z_]+|XDG_(?:CONFIG|DATA|STATE)_HOME|XDG_RUNTIME_DIR|NO_COLOR|FORCE_COLOR", node.value
        )
    } - {"KVTOP_REPORT_FILE"}  # set by `kvtop wrap` for the process that it starts
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert len(read) > 10
    assert {name for name in read if f"`{name}`" not in page} == set()
    named = set(re.findall(r"`(KVTOP_[A-Z_]+)`", page))
    assert named <= read
