"""Runs an MLX server and reports the memory that MLX counts in this process. Started by `kvtop wrap`.

    python mlx_reporter.py SCRIPT [WORDS…]        as the script would run by itself
    python mlx_reporter.py -m MODULE [WORDS…]     as python -m would run it

Nothing of the server is changed: one daemon thread reads MLX's own counters once a second and writes them to the file
that KVTOP_REPORT_FILE names, whole or not at all. It never imports MLX by itself and never allocates anything there.
Python 3.9 or newer and the standard library only: this runs under the server's interpreter, not kvtop's.
"""

from __future__ import annotations

import sys

# Before any other import: this file's folder must stand in front of nothing that the server imports.
if sys.path[0] == __file__.rpartition("/")[0]:
    del sys.path[0]

import atexit
import json
import os
import runpy
import threading
import time
from typing import Any

VARIABLE = "KVTOP_REPORT_FILE"
SCHEMA = "kvtop.mlx-memory/1"
INTERVAL_SECONDS = 1.0
HEARTBEAT_SECONDS = 5.0
"""Unchanged figures are written this often, so that a reader can tell a quiet server from a dead file."""


def _started_ticks() -> int | None:
    """Field 22 of /proc/self/stat: with the pid it names this process for good. None where there is no /proc."""
    try:
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123
            stat = file.read()
    except OSError:
        return None
    return int(stat[stat.rfind(b")") + 2 :].split()[19])


def _counters() -> dict[str, int | str] | None:
    """MLX's counters, or None while the server has not imported it."""
    core = sys.modules.get("mlx.core")
    if core is None:
        return None
    source: Any = core if hasattr(core, "get_active_memory") else getattr(core, "metal", None)
    if not hasattr(source, "get_active_memory"):
        return None
    return {
        "active_bytes": int(source.get_active_memory()),
        "cache_bytes": int(source.get_cache_memory()),
        "peak_bytes": int(source.get_peak_memory()),
        "mlx_version": str(getattr(core, "__version__", "")),
        "mlx_lm_version": str(getattr(sys.modules.get("mlx_lm"), "__version__", "")),
    }


def _write(path: str, report: dict[str, object]) -> None:
    """Replace the file. The folder was made private by `kvtop wrap`, so the temporary name is nobody else's."""
    beside = path + ".new"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(report, file)
    os.replace(beside, path)  # noqa: PTH105


def _report(path: str) -> None:
    facts = {"schema": SCHEMA, "pid": os.getpid(), "started_ticks": _started_ticks()}
    last: dict[str, int | str] | None = None
    written_at = 0.0
    while True:
        now = time.monotonic()
        try:
            counters = _counters()
            if counters is not None and (counters != last or now - written_at >= HEARTBEAT_SECONDS):
                _write(path, dict(facts, taken_at=time.time(), **counters))
                last, written_at = counters, now
        except Exception as error:  # noqa: BLE001  whatever it is, the server must go on without the report
            sys.stderr.write("kvtop wrap: no more memory reports: %s\n" % error)  # noqa: UP031
            return
        time.sleep(INTERVAL_SECONDS)


def _start(path: str) -> None:
    def remove() -> None:
        for name in (path, path + ".new"):
            try:
                os.unlink(name)  # noqa: PTH108
            except OSError:
                continue

    owner = os.getpid()
    atexit.register(lambda: remove() if os.getpid() == owner else None)
    threading.Thread(target=_report, args=(path,), name="kvtop reporter", daemon=True).start()


def main() -> None:
    """Start the reporter, then become the server."""
    path = os.environ.get(VARIABLE)
    if path:
        _start(path)
    del sys.argv[0]
    is_safe = sys.flags.isolated or getattr(sys.flags, "safe_path", False)
    if sys.argv[0] == "-m":
        del sys.argv[0]
        if not is_safe:
            sys.path.insert(0, os.getcwd())  # noqa: PTH109
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        if not is_safe:
            sys.path.insert(0, os.path.dirname(os.path.realpath(sys.argv[0])))  # noqa: PTH120
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
