"""`make fuzz MINUTES=5`: coverage-guided fuzzing (atheris) of every reader in turn, from the corpus in the repository.

An input that breaks a reader is printed and kept in tests/fuzz/found; put it into tests/fuzz/corpus as `found-…` with
the fix. `--reader gguf` fuzzes one; `--inputs 1000000` ends by count.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.corpus import CORPUS
from tests.fuzz.readers import READERS

_FOUND = Path(__file__).parent / "found"


def main() -> int:
    """Exit code 1 where a reader broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="for all readers together (default: 5)")
    parser.add_argument("--inputs", type=int, default=-1, help="end each reader after so many inputs")
    parser.add_argument("--reader", choices=READERS, action="append", help="only these")
    args = parser.parse_args()
    readers = args.reader or list(READERS)
    broken = [name for name in readers if not _fuzzed(name, args.minutes * 60 / len(readers), args.inputs)]
    if broken:
        print(f"broken: {', '.join(broken)}; the inputs are in {_FOUND}")
    return 1 if broken else 0


def _fuzzed(name: str, seconds: float, inputs: int) -> bool:
    """Whether a reader lived through it; one process each, since a fault ends the process."""
    _FOUND.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as grown:
        command = [
            *(sys.executable, "-m", "tests.fuzz.one", name, grown, str(CORPUS / name)),
            *(f"-max_total_time={max(int(seconds), 1)}", f"-runs={inputs}", "-max_len=65536", "-timeout=30"),
            *("-rss_limit_mb=2048", f"-artifact_prefix={_FOUND}/{name}-", "-print_final_stats=1"),
        ]
        environ = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    runs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    print(f"{name}: {runs[1] if runs else '?'} inputs, {'sound' if done.returncode == 0 else 'BROKEN'}", flush=True)
    if done.returncode != 0:
        print(done.stdout[-2000:] + done.stderr[-4000:])
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
