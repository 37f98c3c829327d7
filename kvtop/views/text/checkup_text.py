"""A checkup as text for a person, and as JSON, schema `kvtop.doctor/1`."""

import json
from datetime import UTC, datetime
from typing import TypedDict

from kvtop.domain.answers.checkup import Area, Checkup, Outcome, Probe
from kvtop.views.demo_mark import DEMO_SENTENCE

SCHEMA = "kvtop.doctor/1"


class ProbeJson(TypedDict):
    """One thing that was looked at: `outcome` is "ok", "note" or "failed"; `remedy` is what to do about it, or ""."""

    area: str
    subject: str
    outcome: str
    answer: str
    remedy: str


class DoctorJson(TypedDict):
    """Everything that was looked at, and the exit code that follows."""

    schema: str
    taken_at: str
    kvtop_version: str
    host: str
    exit_code: int
    probes: list[ProbeJson]
    is_demo: bool
    """The host is invented (`--demo`)."""


_MARKS = {Outcome.OK: "ok", Outcome.NOTE: "note", Outcome.FAILED: "FAILED"}


def checkup_text(found: Checkup) -> str:
    """One block an area; below a probe what to do about it. The last line says how it went. Plain ASCII marks."""
    lines = [f"kvtop {found.kvtop_version} on {found.host}"]
    lines += [DEMO_SENTENCE] if found.is_demo else []
    for area in Area:
        probes = [probe for probe in found.probes if probe.area is area]
        lines += ["", area.value]
        lines += [line for probe in probes for line in _lines(probe)] or ["  nothing to look at"]
    return "\n".join([*lines, "", _verdict(found), ""])


def _lines(probe: Probe) -> list[str]:
    first = f"  {_MARKS[probe.outcome]:<7}{probe.subject}: {probe.answer}"
    return [first, f"         do: {probe.remedy}"] if probe.remedy else [first]


def _verdict(found: Checkup) -> str:
    failed = len(found.failed())
    if failed:
        return f"{failed} of {len(found.probes)} probes failed"
    servers = "1 server" if found.server_count == 1 else f"{found.server_count} servers"
    return f"all well: {servers}" if found.server_count else "nothing failed; there is no server to watch"


def checkup_json(found: Checkup, exit_code: int) -> str:
    """The same as JSON with a final newline. Names are a contract: within a version they are only added to."""
    document: DoctorJson = {
        "schema": SCHEMA,
        "taken_at": datetime.fromtimestamp(found.taken_at, UTC).isoformat(timespec="milliseconds"),
        "kvtop_version": found.kvtop_version,
        "host": found.host,
        "exit_code": exit_code,
        "probes": [
            {
                "area": probe.area.value,
                "subject": probe.subject,
                "outcome": probe.outcome.value,
                "answer": probe.answer,
                "remedy": probe.remedy,
            }
            for probe in found.probes
        ],
        "is_demo": found.is_demo,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
