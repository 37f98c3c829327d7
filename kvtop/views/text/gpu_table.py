"""The accelerators that `--gpu` knows, as a table and as JSON."""

import json
from collections.abc import Sequence
from typing import TypedDict

from kvtop.domain.answers.known_gpu import KnownGpu
from kvtop.text import bytes_text

SCHEMA = "kvtop.gpus/1"


class KnownGpuJson(TypedDict):
    """One product. `total_bytes` is what its compute API reports of `driver_total_bytes`; `source` says who says so.

    `reserve_bytes` is the range of what a process takes of it beside its plan. null is unknown, or no such thing.
    """

    name: str
    aliases: list[str]
    compute_api: str
    compute_capability: str | None
    total_bytes: int
    driver_total_bytes: int
    reserve_low_bytes: int
    reserve_high_bytes: int
    bytes_per_second: int | None
    source: str


class GpusJson(TypedDict):
    """What `kvtop gpus --json` prints."""

    schema: str
    gpus: list[KnownGpuJson]


def gpus_text(found: Sequence[KnownGpu]) -> str:
    """A line for each, and a note for each source, with a final newline."""
    sources = list(dict.fromkeys(it.source for it in found))
    width = max((len(_names(it)) for it in found), default=0)
    lines = [
        f"{_names(it):{width}}  {bytes_text(it.total_bytes):>9}  {_kind(it):10}  [{sources.index(it.source) + 1}]"
        for it in found
    ]
    notes = [f"[{number}] {source}" for number, source in enumerate(sources, start=1)]
    return "\n".join([*lines, "", *notes]) + "\n"


def gpus_json(found: Sequence[KnownGpu]) -> str:
    """Indented JSON with a final newline."""
    rows = [
        KnownGpuJson(
            name=it.name,
            aliases=list(it.aliases),
            compute_api=it.compute_api,
            compute_capability=_capability(it),
            total_bytes=it.total_bytes,
            driver_total_bytes=it.driver_bytes,
            reserve_low_bytes=it.reserve_low_bytes,
            reserve_high_bytes=it.reserve_high_bytes,
            bytes_per_second=it.bytes_per_second,
            source=it.source,
        )
        for it in found
    ]
    return json.dumps(GpusJson(schema=SCHEMA, gpus=rows), indent=2) + "\n"


def _names(found: KnownGpu) -> str:
    return found.name + (f" ({', '.join(found.aliases)})" if found.aliases else "")


def _kind(found: KnownGpu) -> str:
    return f"{found.compute_api} {_capability(found) or ''}".rstrip()


def _capability(found: KnownGpu) -> str | None:
    return None if found.compute_capability is None else ".".join(map(str, found.compute_capability))
