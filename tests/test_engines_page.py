"""docs/engines.md says exactly which paths are asked: the table is compared with the adapters."""

import re
from pathlib import Path

from kvtop.sources.engines import ENGINES, unidentified

PAGE = (Path(__file__).parents[1] / "docs" / "engines.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([\w.-]+)` \| (.*?) ?\| (.*?) ?\| (\d+) \|$", re.MULTILINE)


def words(cell: str) -> set[str]:
    return {word.strip("`") for word in cell.split()}


def test_the_table_is_what_the_adapters_ask() -> None:
    written = {row[0]: (words(row[1]), words(row[2]), int(row[3])) for row in ROW.findall(PAGE)}
    asked = {
        engine.NAME: (set(engine.PATHS) - set(engine.SELDOM_SECONDS), set(engine.SELDOM_SECONDS), engine.DEFAULT_PORT)
        for engine in (*ENGINES, unidentified)
    }
    assert written == asked
