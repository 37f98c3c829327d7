"""The published JSON Schemas, by name, made from the types that build the documents, so they cannot drift."""

import json
from importlib import import_module

from kvtop.views.export.json_schema import schema_of

SCHEMAS: dict[str, tuple[str, tuple[str, ...]]] = {
    "kvtop.snapshot/1": ("export.snapshot.snapshot_types", ("SnapshotJson",)),
    "kvtop.plan/1": ("export.plan_types", ("PlanJson", "NoPlanJson")),
    "kvtop.frontier/1": ("text.frontier_text", ("FrontierJson",)),
    "kvtop.recommend/1": ("export.recommend_types", ("RecommendJson",)),
    "kvtop.lint/1": ("export.findings", ("LintJson",)),
    "kvtop.rules/1": ("export.own_lists", ("RulesJson",)),
    "kvtop.diff/1": ("export.diff_json", ("DiffJson",)),
    "kvtop.doctor/1": ("text.checkup_text", ("DoctorJson",)),
    "kvtop.gpus/1": ("text.gpu_table", ("GpusJson",)),
    "kvtop.themes/1": ("export.own_lists", ("ThemesJson",)),
    "kvtop.config/1": ("export.own_lists", ("ConfigJson",)),
}
"""Schema -> module of `views`, and the types that are documents of it."""


def name_of(schema: str) -> str:
    """The word that asks for it: "snapshot" for "kvtop.snapshot/1"."""
    return schema.removeprefix("kvtop.").partition("/")[0]


NAMES = tuple(map(name_of, SCHEMAS))


def schema_text(name: str) -> str:
    """The schema of that name as indented JSON (draft 2020-12) with a final newline. Raises KeyError."""
    title, (module, types) = {name_of(it): (it, place) for it, place in SCHEMAS.items()}[name]
    found = tuple(getattr(import_module(f"kvtop.views.{module}"), it) for it in types)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema_of(found), "title": title}
    for properties in _documents(schema):
        properties["schema"] = {"const": title}
    return json.dumps(schema, indent=2) + "\n"


def _documents(schema: dict[str, object]) -> list[dict[str, object]]:
    """The properties of every type in the schema that has a `schema` of its own."""
    definitions = schema.get("$defs")
    types = [schema, *(definitions.values() if isinstance(definitions, dict) else ())]
    listed = [it.get("properties") for it in types if isinstance(it, dict)]
    return [it for it in listed if isinstance(it, dict) and "schema" in it]
