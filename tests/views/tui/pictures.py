"""PNGs of the main three screens from their SVG goldens, for places that show no SVG. Run by `make accept`."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SCREENSHOTS = Path(__file__).parents[3] / "screenshots"
MAIN = ("overview", "server", "eight-cards")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main() -> int:
    """Write them beside the SVGs; says so and does nothing where no browser is."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"no PNGs: no browser here (looked for {', '.join(BROWSERS)})", file=sys.stderr)
        return 0
    for name in MAIN:
        svg = SCREENSHOTS / f"{name}.svg"
        found = re.search(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', svg.read_text(encoding="utf-8"))
        assert found is not None, f"{svg.name} has no viewBox"
        width, height = (round(float(size)) for size in found.groups())
        with tempfile.TemporaryDirectory() as profile:
            command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
            command += [f"--user-data-dir={profile}", f"--window-size={width},{height}"]
            command += [f"--screenshot={svg.with_suffix('.png')}", svg.as_uri()]
            subprocess.run(command, capture_output=True, check=True, timeout=120)
    return 0


if __name__ == "__main__":
    sys.exit(main())
