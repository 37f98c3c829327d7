"""Compares reading a GGUF header with the `gguf` package: `python -m tests.bench.bench_gguf [FILE]`.

Without a file it makes one with 262144 tokens, their scores and types, and 340 tensors (about what Gemma 3 has).
CPU milliseconds of this process, the best of the runs. Exits with 1 when a budget is missed: 20 ms, a tenth of theirs.
"""

import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from gguf import GGUFReader

from kvtop.sources.model_files.gguf import read_gguf

TOKENS = 262_144
TENSORS = 340
BUDGET_MS = 20.0
BUDGET_FACTOR = 10.0


def _text(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def _array(key: bytes, type_id: int, count: int, content: bytes) -> bytes:
    return _text(key) + struct.pack("<IIQ", 9, type_id, count) + content


def write_model(path: Path) -> None:
    """A header of real size; token lengths vary from 1 to 24 bytes."""
    tokens = b"".join(_text(b"token of some length yes"[: 1 + number * 7919 % 24]) for number in range(TOKENS))
    header = b"GGUF" + struct.pack("<IQQ", 3, TENSORS, 4)
    header += _text(b"general.architecture") + struct.pack("<I", 8) + _text(b"gemma3")
    header += _array(b"tokenizer.ggml.tokens", 8, TOKENS, tokens)
    header += _array(b"tokenizer.ggml.scores", 6, TOKENS, bytes(4 * TOKENS))
    header += _array(b"tokenizer.ggml.token_type", 5, TOKENS, bytes(4 * TOKENS))
    for number in range(TENSORS):
        header += _text(b"blk.%d.weight" % number) + struct.pack("<IQQIQ", 2, 32, 1, 0, 128 * number)
    path.write_bytes(header + bytes(-len(header) % 32 + 128 * TENSORS))


def best_cpu_ms(work: Callable[[], object], runs: int) -> float:
    """The least CPU time of some runs, in milliseconds."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times) * 1000


def main(arguments: list[str]) -> int:
    """Measure, print two lines, and judge."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(arguments[0]) if arguments else Path(folder) / "model.gguf"
        if not arguments:
            write_model(path)
        ours = best_cpu_ms(lambda: read_gguf(path, follow_parts=False), 20)
        theirs = best_cpu_ms(lambda: GGUFReader(path), 2)
    print(f"kvtop  {ours:8.1f} ms  (budget {BUDGET_MS:.0f} ms)")
    print(f"gguf   {theirs:8.1f} ms  ({theirs / ours:.0f} times as long; budget {BUDGET_FACTOR:.0f} times)")
    return int(ours > BUDGET_MS or theirs < BUDGET_FACTOR * ours)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
