"""Record load shapes from real engines: `python -m tools.record_loads --server slots`, from the repository's root.

Needs `python -m tests.engines.install`. A shape takes one to three minutes and about one core. Shapes of one server
follow each other, after its cache has been emptied by a start of its own.
"""

import argparse
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from tools.record_loads.clients import Asking
from tools.record_loads.load_record import LoadRecord
from tools.record_loads.servers import SERVERS, Server, free_port, running
from tools.record_loads.shapes import SHAPES, Shape

FIXTURES = Path("tests") / "fixtures" / "loads"
SUFFIX = ".jsonl.zst"


def main() -> int:
    """Record the shapes that are named, or all of a server; 0 when done."""
    parser = argparse.ArgumentParser(prog="record_loads", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--server", action="append", choices=sorted(SERVERS), help="all shapes of it; may be repeated")
    parser.add_argument("--shape", action="append", choices=[shape.name for shape in SHAPES], help="may be repeated")
    parser.add_argument("--missing", action="store_true", help="only shapes that no fixture has yet")
    parser.add_argument("--fixtures", type=Path, default=FIXTURES, help="the folder to write to")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that no server stays behind
    chosen.fixtures.mkdir(parents=True, exist_ok=True)
    for name, server in SERVERS.items():
        wanted = [shape for shape in SHAPES if shape.server == name and _is_wanted(shape, chosen)]
        if wanted:
            _record(server, wanted, chosen.fixtures)
    return 0


def _is_wanted(shape: Shape, chosen: argparse.Namespace) -> bool:
    if chosen.missing and (chosen.fixtures / f"{shape.name}{SUFFIX}").exists():
        return False
    if chosen.shape is None and chosen.server is None:
        return True
    return shape.name in (chosen.shape or ()) or shape.server in (chosen.server or ())


def _record(server: Server, shapes: list[Shape], fixtures: Path) -> None:
    """Shapes share a server that takes long to start; what it has counted before is none of a shape's business."""
    groups = [shapes] if server.engine == "vllm" else [[shape] for shape in shapes]
    with tempfile.TemporaryDirectory() as directory:
        for group in groups:
            port = free_port()
            with running(server, port, Path(directory) / "server.log"):
                for shape in group:
                    size_bytes, ends = _play(server, shape, port, fixtures / f"{shape.name}{SUFFIX}")
                    print(f"{shape.name}: {size_bytes} bytes; {ends}", flush=True)


def _play(server: Server, shape: Shape, port: int, path: Path) -> tuple[int, str]:
    is_over = threading.Event()
    record = LoadRecord(server, shape.name, port)
    ends: dict[str, int] = {}

    def report(kind: str, facts: dict[str, object]) -> None:
        ends[kind] = ends.get(kind, 0) + 1
        record.event(kind, facts)

    asking = [
        Asking(number, client, server.dialect, port, report, is_over) for number, client in enumerate(shape.clients)
    ]
    started = time.monotonic()
    for thread in asking:
        thread.start()
    for second in range(shape.seconds):
        time.sleep(max(started + second - time.monotonic(), 0))
        record.tick()
    is_over.set()
    for thread in asking:
        thread.join(timeout=60)
    return record.save(path), ", ".join(f"{count} {kind}" for kind, count in sorted(ends.items()))


if __name__ == "__main__":
    sys.exit(main())
