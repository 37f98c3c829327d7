"""The published JSON Schema of `kvtop.snapshot/1`, made from the types that build it, so it cannot drift."""

import json

from pydantic import TypeAdapter

from kvtop.views.export.snapshot.as_json import SCHEMA, SnapshotJson


def snapshot_schema_text() -> str:
    """The schema as indented JSON (draft 2020-12) with a final newline."""
    schema = TypeAdapter(SnapshotJson).json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = SCHEMA
    schema["properties"]["schema"] = {"const": SCHEMA}
    return json.dumps(schema, indent=2) + "\n"
