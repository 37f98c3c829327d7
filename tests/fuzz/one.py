"""One reader under atheris: `python -m tests.fuzz.one READER FOLDER… [libFuzzer's options]`."""

import sys

import atheris

with atheris.instrument_imports(include=["kvtop"]):
    from tests.fuzz.limits import read_within_limits
    from tests.fuzz.readers import READERS


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    name = sys.argv.pop(1)
    for seed in (b"", b"\0", b"{}"):  # imports what readers import late, outside the limits
        reader, expected = READERS[name]
        try:
            reader(seed)
        except expected:
            continue
    atheris.Setup(sys.argv, lambda data: read_within_limits(name, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
