"""Makers, their drivers and their brands are named in rooms of their own: no table elsewhere is one maker's."""

import re
from pathlib import Path

import pytest

from kvtop.domain.compute_api import VISIBILITY_VARIABLES
from kvtop.verbs.command_line.help_page import CHOOSING_DEVICES

PACKAGE = Path(__file__).resolve().parents[1] / "kvtop"
NAMES = re.compile(
    r"(?i)(?<![a-z])(nvidia|nvml|dcgm|geforce|quadro|amd|amdgpu|radeon|instinct|kfd|intel|i915|apple|iokit)(?![a-z])"
)
ROOMS = {
    "sources/devices/": "the backends",
    "sources/fleet/": "DCGM's exporter is one source of a fleet",
    "sources/demo/": "invented hosts have cards with names",
    "planning/gpus/products.py": "the catalogue of products",
    "planning/gpus/nvidia_table.py": "one maker's cards",
    "planning/gpus/other_table.py": "those of the others",
    "planning/gpus/bandwidths.py": "the bandwidths of products",
}
ALLOWED = {
    "sources/system_facts.py": "the name of a package whose version a report gives",
    "sources/engines/tensorrt_llm.py": "the address of the engine's repository",
}
"""A file that names a maker for a reason of its own."""


def test_makers_stand_in_their_rooms_only() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith(tuple(ROOMS)) or name in ALLOWED:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if NAMES.search(line):
                found.append(f"{name}:{number}: {line.strip()}")
    assert found == []


@pytest.mark.parametrize("name", [*ROOMS, *ALLOWED])
def test_no_room_is_empty(name: str) -> None:
    files = (PACKAGE / name).rglob("*.py") if name.endswith("/") else [PACKAGE / name]
    assert any(NAMES.search(path.read_text(encoding="utf-8")) for path in files)


def test_variables_that_choose_devices_are_listed_once() -> None:
    """With the API whose runtime reads them; whoever reads an environment asks for `VISIBILITY_VARIABLES`."""
    variable = re.compile(r"[A-Z]+_VISIBLE_DEVICES|ZE_AFFINITY_MASK")
    files = [path for path in PACKAGE.rglob("*.py") if variable.search(path.read_text(encoding="utf-8"))]
    outside = {path.relative_to(PACKAGE).as_posix() for path in files} - {
        "domain/compute_api.py",
        "verbs/command_line/help_page.py",
    }
    assert set(CHOOSING_DEVICES) == set(VISIBILITY_VARIABLES)
    assert {name for name in outside if not name.startswith("sources/demo/")} == set()
