"""The sides of `kvtop diff`: snapshots, recordings, this host, and command lines."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kvtop.analysis.diff.causes import Planned
from kvtop.analysis.diff.comparable import host_state, lasting, planned_state
from kvtop.analysis.diff.planned_server import planned_servers
from kvtop.app.frames import config_of, first_samples, last_frame
from kvtop.app.plan.loaded import load_command
from kvtop.app.plan.request import PlanRequest, read_machine
from kvtop.app.plan.started import as_started
from kvtop.app.unanswered import unanswered
from kvtop.domain.answers.comparison import HostState
from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, Refusal
from kvtop.io.atomic_write import piped
from kvtop.planning.commands.command import parse_command, typed_words
from kvtop.sources.recordings.snapshot_file import LIMIT_BYTES, read_snapshot
from kvtop.sources.redaction.redact import clean

_RECORDING_STARTS = (b"kvtop.recording/", b"PK\x03\x04")


@dataclass(frozen=True, slots=True)
class Side:
    """One side, and those of its servers that can be planned again."""

    state: HostState
    plans: dict[str, Planned] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    """A sentence for each endpoint that was named and did not answer."""


class SideRefusedError(Exception):
    """A command that its engine would not start with. str() says which of the two, and the engine's words."""


def side_of(word: str, args: argparse.Namespace) -> Side:
    """ "live", a snapshot, a recording (its last tick), or RECORDING@TIME.

    Raises ConfigError, RecordingError, SnapshotFileError, or ValueError for a time that is none.
    """
    if word == "live":
        samples = first_samples(args, config_of(args))
        last = samples[-1]
        silent = unanswered(args, last.servers, last.failures, last.pending)
        return Side(host_state("live", last_frame(samples)), planned_servers(last), silent)
    path, time = Path(word), None
    if not path.exists() and "@" in word:
        head, _, time = word.rpartition("@")
        path = Path(head)
    content = piped(path, LIMIT_BYTES + 1)
    if time is None and not _is_recording(path, content):
        return Side(lasting(read_snapshot(path, word, content)))
    from kvtop.app.replay import frame_at, moment  # noqa: PLC0415  only for recordings
    from kvtop.sources.recordings.reader import Recording  # noqa: PLC0415

    recording = Recording(path, content)
    index = len(recording) - 1 if time is None else moment(recording, time)
    sample, state = recording.sample(index), host_state(word, frame_at(recording, index))
    return Side(state, planned_servers(sample))


def planned_side(
    name: str, words: Sequence[str], gpu_specs: tuple[str, ...], engine_version: str | None = None
) -> Side:
    """A command line that has not been started, in words or whole in quotes.

    Raises UsageError, ModelFileError, ValueError, NoExactRuleError; RefusedError where the engine would not.
    """
    request = as_started(
        PlanRequest(
            parse_command(typed_words(words, os.environ)),
            gpu_specs,
            environ=dict(os.environ),
            engine_version=engine_version,
        )
    )
    opened = load_command(request, read_machine(request))
    if isinstance(opened, Refusal):
        raise _refused(name, opened)
    plan = opened.plan()
    if isinstance(plan, Refusal):
        raise _refused(name, plan)

    def replan(launch: LaunchOptions) -> MemoryPlan | None:
        try:
            found = replace(opened, launch=launch).plan()
        except NoExactRuleError:
            return None
        return found if isinstance(found, MemoryPlan) else None

    state = planned_state(name, opened.launch, plan)
    return Side(HostState(name, clean(" ".join(words)), (state,)), {name: Planned(opened.launch, plan, replan)})


def _refused(name: str, refusal: Refusal) -> SideRefusedError:
    return SideRefusedError(f"{name}: {refusal.engine} would refuse to start: {refusal.message}")


def _is_recording(path: Path, content: bytes | None) -> bool:
    if content is not None:
        return content.startswith(_RECORDING_STARTS)
    try:
        with path.open("rb") as file:
            return file.read(16).startswith(_RECORDING_STARTS)
    except OSError:
        return False
