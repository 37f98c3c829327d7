"""The published JSON Schema of `kvtop.snapshot/1`, made from the types that build it, so it cannot drift."""

from kvtop.views.export.schemas import schema_text


def snapshot_schema_text() -> str:
    """The schema as indented JSON (draft 2020-12) with a final newline."""
    return schema_text("snapshot")
