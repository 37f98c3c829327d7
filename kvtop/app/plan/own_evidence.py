"""What was measured here by `kvtop quality --run`: one JSON file in the user's data directory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from kvtop.analysis.evidence import measurements_of
from kvtop.domain.answers.evidence import Measurement, Tier
from kvtop.io.atomic_write import write_atomic
from kvtop.text import UnusableTextError

SCHEMA = "kvtop.quality/1"


def evidence_path(environ: Mapping[str, str]) -> Path:
    """`$XDG_DATA_HOME/kvtop/quality.json`, else `~/.local/share/kvtop/quality.json`."""
    base = environ.get("XDG_DATA_HOME")
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return (Path(base) if base else home / ".local" / "share") / "kvtop" / "quality.json"


def read_own_evidence(environ: Mapping[str, str]) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    """The figures, and what is wrong with the file if anything is; a file that cannot be believed counts as empty."""
    path = evidence_path(environ)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise UnusableTextError("not a JSON object")
        found = measurements_of(document)
        foreign = next((it for it in found if it.tier is not Tier.OWN), None)
        if foreign is not None:
            raise UnusableTextError(f"a figure of tier {foreign.tier.value!r}; only own ones belong here")
    except FileNotFoundError:
        return (), ()
    except (OSError, ValueError) as error:
        return (), (f"own measurements are left out: {path}: {error}",)
    return found, ()


def add_own_evidence(environ: Mapping[str, str], added: Sequence[Measurement]) -> Path:
    """Put figures into the file, in the place of older ones of the same model, types and metric.

    Raises ValueError where the present file cannot be believed (it is never overwritten), OSError.
    """
    present, problems = read_own_evidence(environ)
    if problems:
        raise UnusableTextError(problems[0])

    def key(it: Measurement) -> tuple[str, ...]:
        return it.model, it.type_k, it.type_v, it.rotation, it.metric

    replaced = {key(it) for it in added}
    kept = [it for it in present if key(it) not in replaced]
    document = {"schema": SCHEMA, "figure": [_row(it) for it in (*kept, *added)]}
    path = evidence_path(environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())
    return path


def _row(figure: Measurement) -> dict[str, object]:
    row = asdict(figure)
    row["architectures"] = list(figure.architectures)
    row["tier"] = figure.tier.value
    return row
