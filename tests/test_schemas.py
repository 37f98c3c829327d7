"""Every JSON document names its schema, `kvtop schema NAME` prints it, and no key of the document is missing there."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kvtop.cli import main
from kvtop.verbs import VERBS
from kvtop.views.export.schemas import NAMES, SCHEMAS, name_of, schema_text
from tests.models.tiny_gguf import write_tiny_gguf

LLAMA = ("--", "llama-server", "-m", "tiny.gguf", "-c", "2048")
DOCUMENTS: dict[str, Sequence[str]] = {
    "kvtop.plan/1": ("plan", "--json", "--explain", "--gpu", "24GiB", *LLAMA),
    "kvtop.frontier/1": ("plan", "--json", "--frontier", "--gpu", "24GiB", *LLAMA),
    "kvtop.recommend/1": ("recommend", "--json", "--gpu", "24GiB", *LLAMA),
    "kvtop.lint/1": ("lint", "--json", "--gpu", "24GiB", *LLAMA, "-ctk", "q4_0", "-ctv", "q8_0"),
    "kvtop.rules/1": ("explain", "--json"),
    "kvtop.themes/1": ("themes", "--json"),
    "kvtop.gpus/1": ("gpus", "--json"),
    "kvtop.config/1": ("config", "--json"),
}


def strict(schema: object) -> object:
    """The schema, with no key allowed that it does not name."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, object] = {key: strict(value) for key, value in schema.items()}
    if "properties" in found and found.get("type") == "object":
        found["additionalProperties"] = False
    return found


def assert_documented(document: dict[str, Any], schema: str) -> None:
    assert document["schema"] == schema
    jsonschema.Draft202012Validator(strict(json.loads(schema_text(name_of(schema))))).validate(document)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("KVTOP_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    write_tiny_gguf(tmp_path / "tiny.gguf")


@pytest.mark.parametrize("schema", DOCUMENTS)
def test_a_document_holds_nothing_that_its_schema_does_not_name(
    schema: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(DOCUMENTS[schema]) in {0, 1}
    document = json.loads(capsys.readouterr().out)
    assert_documented(document, schema)
    assert len(document) > 1


def test_no_plan_is_a_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--json", *LLAMA, "--nonsense"]) == 3
    assert_documented(json.loads(capsys.readouterr().out), "kvtop.plan/1")
    with pytest.raises(jsonschema.ValidationError):
        assert_documented({"schema": "kvtop.plan/1", "engine": "x"}, "kvtop.plan/1")


def test_schemas_are_listed_and_each_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--list"]) == 0
    assert capsys.readouterr().out.split() == list(SCHEMAS)
    for name, schema in zip(NAMES, SCHEMAS, strict=True):
        assert main(["schema", name]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed["title"] == schema
        jsonschema.Draft202012Validator.check_schema(printed)
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "kvtop.snapshot/1"


def test_every_flag_json_names_a_schema_that_is_published() -> None:
    """`--json` says in its help which schema it prints; the list of schemas has each."""
    from kvtop.cli import _parser  # noqa: PLC0415

    parser = _parser(frozenset(verb.name for verb in VERBS))
    verbs = next(action for action in parser._actions if action.dest == "verb").choices
    assert verbs is not None
    helps = {
        name: next((str(action.help) for action in own._actions if "--json" in action.option_strings), None)
        for name, own in dict(verbs).items()
    }
    named = {name: words for name, words in helps.items() if words is not None}
    assert named.keys() >= {"snapshot", "plan", "recommend", "lint", "diff", "doctor", "explain", "themes", "config"}
    assert [name for name, words in named.items() if not any(schema in words for schema in SCHEMAS)] == []
