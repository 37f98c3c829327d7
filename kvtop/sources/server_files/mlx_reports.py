"""What a server started by `kvtop wrap` writes of its own memory: MLX's counters, read from its file."""

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kvtop.domain.engine_report import RankReport
from kvtop.domain.model_file import ModelFileError
from kvtop.domain.sample import Failure
from kvtop.domain.server import ServerReading
from kvtop.sources.engines.mlx import UNWRAPPED, WRAPPED
from kvtop.sources.model_files.process_filesystem import ProcessFilesystem
from kvtop.sources.model_files.regular_file import open_regular
from kvtop.sources.processes.discovery import FoundProcess
from kvtop.sources.processes.process_facts import name_of_user, read_stat, uid_of
from kvtop.sources.redaction.redact import clean
from kvtop.sources.rights.reading import read_as
from kvtop.sources.tools.wrapped_command import REPORT_VARIABLE

SCHEMA = "kvtop.mlx-memory/1"
FRESH_SECONDS = 20.0
"""The reporter writes every five seconds at least; a long computation may hold it up."""

_LIMIT_BYTES = 4096
_SOURCE = "mlx_lm.server's own counters, by kvtop wrap"


@dataclass(frozen=True, slots=True)
class MlxReport:
    """MLX's counters, and the version of mlx-lm that runs ("" where it does not say)."""

    memory: RankReport
    version: str = ""


def mlx_report(found: FoundProcess, proc: Path = Path("/proc")) -> MlxReport | Failure | None:
    """The report of a wrapped server; None: it is not wrapped, or has not reported yet.

    Only a file of the process's own user counts, from that very process: a pid may have been used before.
    """
    name = found.environ.get(REPORT_VARIABLE)
    pid = found.process.pid
    if not name or not name.startswith("/"):
        return None
    home = proc / str(pid)
    has_proc = home.exists()  # macOS has none: there every process sees the same files
    source = f"pid {pid} memory report"
    root = f"{home}/root" if has_proc else "/"
    try:
        owner, text = read_as(pid, "memory report", lambda: _owner_and_text(root, name), proc)
        if (owner != uid_of(home)) if has_proc else (name_of_user(owner) != found.process.user):
            return Failure(source, f"{name} belongs to another user than the server", "remove that file")
    except FileNotFoundError:
        return None
    except (OSError, ModelFileError) as error:
        return Failure(source, str(error), "see that it is a plain file that the server may read and write")
    report = _fields(text)
    if report is None:
        return Failure(source, f"{name} is no memory report", "start the server again with this kvtop's wrap")
    stat = read_stat(home)
    ticks = None if stat is None else int(stat.started_ticks)
    is_its_own = report.get("started_ticks") == ticks if has_proc else report.get("pid") == pid
    if not is_its_own or (has_proc and ticks is None):
        return None
    age_seconds = time.time() - report["taken_at"]
    if not age_seconds <= FRESH_SECONDS:  # true for NaN as well
        return Failure(source, f"the last one is {age_seconds:.0f} s old", "see whether the server still answers")
    active, cache, peak = (_count(report.get(key)) for key in ("active_bytes", "cache_bytes", "peak_bytes"))
    if active is None or cache is None:
        return Failure(source, f"{name} lacks counters", "start the server again with this kvtop's wrap")
    memory = RankReport(
        total_bytes=active + cache, active_bytes=active, kept_bytes=cache, peak_bytes=peak, source=_SOURCE
    )
    version = report.get("mlx_lm_version")
    return MlxReport(memory, clean(version) if isinstance(version, str) else "")


def _owner_and_text(root: str, name: str) -> tuple[int, bytes]:
    with open_regular(ProcessFilesystem(root=root).ours(name)) as (file, _):
        return os.fstat(file.fileno()).st_uid, file.read(_LIMIT_BYTES)


def with_report(reading: ServerReading, report: MlxReport, device_id: str = "host") -> ServerReading:
    """The reading with what its server reported of this device; the advice to wrap it goes."""
    hint = "" if reading.hint in {UNWRAPPED, WRAPPED} else reading.hint
    memory = replace(report.memory, device_id=device_id)
    return replace(reading, memory_reports=(memory,), version=report.version or reading.version, hint=hint)


def _fields(text: bytes) -> dict[str, Any] | None:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        return None
    return value if type(value.get("taken_at")) in {int, float} else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 60 else None
