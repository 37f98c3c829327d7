"""Write the tables of docs/accuracy.md anew, each between its own markers.

    python -m tests.oracle.accuracy_page

`tests/test_accuracy_page.py` fails when the page is not what this prints.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "accuracy.md"
TABLES = ("table.py", "builds_table.py", "vllm_table.py", "mlx_table.py")


def renewed(page: str, tables: Sequence[str] = TABLES) -> str:
    """The page with what each script prints now. Raises ValueError where a marker is missing."""
    for name in tables:
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise ValueError(f"{PAGE.name} lacks the markers of {name}")
        script = [sys.executable, "-m", f"tests.oracle.{name.removesuffix('.py')}"]
        printed = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False).stdout
        page = f"{before}{begin}\n{printed.strip()}\n\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
