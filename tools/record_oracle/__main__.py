"""Record the engines' own answers: `python -m tools.record_oracle --engine llama.cpp --version b11434`.

Run by `make record`, from the repository's root. docs/new-engine-version.md walks through it.
"""

import argparse
import importlib
import sys
from pathlib import Path

FIXTURES = Path("tests") / "fixtures" / "oracle"

_RECORDERS = {"llama.cpp": "llamacpp", "llama-server": "llamacpp_wheels", "mlx": "mlx", "vllm": "vllm"}


def main() -> int:
    """Record, and say which fixtures changed; 0 whether or not any did."""
    parser = argparse.ArgumentParser(prog="record_oracle", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engine", required=True, choices=sorted(_RECORDERS))
    parser.add_argument("--version", required=True, help="as the engine spells it: b11434, 0.32.0")
    parser.add_argument(
        "--only", action="append", default=[], metavar="FIXTURE", help="not all fixtures; may be repeated"
    )
    parser.add_argument(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="only every Nth case; of the newest version these are compared and not written",
    )
    parser.add_argument("--fixtures", type=Path, default=FIXTURES, help="the folder to read cases from and to write to")
    parser.add_argument("--jobs", type=int, default=2, help="of the compiler, where one is needed")
    chosen = parser.parse_args()
    if chosen.every < 1:
        parser.error(f"--every {chosen.every}: at least 1")
    if not chosen.fixtures.is_dir():
        parser.error(f"--fixtures {chosen.fixtures}: no such folder; run from the repository's root")
    recorder = importlib.import_module(f"tools.record_oracle.{_RECORDERS[chosen.engine]}.recorder")
    only = tuple(name.removesuffix(".json.gz") for name in chosen.only)
    known = [getattr(each, "name", each) for each in recorder.FIXTURES]
    unknown = [name for name in only if name not in known]
    if unknown:
        parser.error(f"--only {unknown[0]}: no such fixture; there are {', '.join(known)}")
    changed = recorder.record(chosen.version, chosen.fixtures, only, chosen.every, chosen.jobs)
    for path in changed:
        print(f"changed {path}")
    if not changed:
        print("every fixture is as it was")
    return 0


if __name__ == "__main__":
    sys.exit(main())
