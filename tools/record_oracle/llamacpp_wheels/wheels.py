"""Which wheel holds which build, and how one is installed."""

import os
import re
from pathlib import Path

from tests.engines import shown

CACHE = Path(os.environ.get("KVTOP_ENGINES", Path.home() / ".cache" / "kvtop"))

WHEELS = {
    "b5353": "0.1.16",
    "b5456": "0.1.18",
    "b5671": "0.1.20",
    "b5772": "0.1.22",
    "b5937": "0.1.24",
    "b6123": "0.1.25",
    "b6301": "0.2.0",
    "b6451": "0.2.1",
    "b6628": "0.2.2",
    "b6751": "0.2.3",
    "b6900": "0.2.4",
    "b7079": "0.2.5",
    "b7376": "0.2.7",
    "b7710": "0.2.9",
    "b7964": "0.2.11",
    "b8156": "0.2.12",
    "b8672": "2026.4.8672",
    "b9294": "2026.5.9294",
    "b9538": "2026.6.9538",
    "b10068": "2026.7.10068",
    "b11549": "2026.10.11549",
}
"""Build -> version of the wheel. Until April 2026 the build's number stands in the server's log alone
("build: 6900 (c22473b58)"); since then it is the wheel's own."""


def installed(build: str) -> tuple[Path, Path]:
    """The interpreter, and the folder to import the wheel of a build from; installed once, 10 to 110 MB.

    Raises SystemExit for a build without a wheel.
    """
    if build not in WHEELS:
        nearest = min(WHEELS, key=lambda known: abs(_number(known) - _number(build)))
        raise SystemExit(f"--version {build}: no wheel is known to hold it; the nearest is {nearest}")
    home = CACHE / "record" / f"llama.cpp-wheel-{build}"
    python = CACHE / "tools" / "bin" / "python"
    if not python.exists():
        python = shown.environment_at(CACHE / "tools")
    if not home.exists():
        package = f"xllamacpp=={WHEELS[build]}"
        command = [*shown.pip(python, "install"), "--no-deps", "--only-binary", ":all:", "--target", str(home), package]
        shown.run(f"installing {package}", command, home)
    return python, home


def _number(build: str) -> int:
    found = re.fullmatch(r"b(\d+)", build)
    if found is None:
        raise SystemExit(f"--version {build}: llama.cpp's builds are b and a number, such as b8672")
    return int(found.group(1))
