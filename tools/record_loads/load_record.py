"""What is kept of a shape: the answers that kvtop reads, second by second, and what became of the requests.

One line of JSON a tick, packed as a whole. `/slots` is kept by the fields that say something; of `/metrics` a tick has
the series that changed. No prompt and no path is in it.
"""

import json
import re
import time
import urllib.request
from pathlib import Path
from typing import Any

import zstandard

from tools.record_loads.servers import Server

_SLOT_FIELDS = ("id", "n_ctx", "is_processing", "id_task", "n_prompt_tokens", "n_prompt_tokens_processed")
_WANTED = re.compile(
    r"llamacpp:(?!.*_seconds$|n_busy)|vllm:(?:cache_config_info|kv_cache_usage_perc|num_requests_|num_preemptions_total"
    r"|engine_sleep_state|(?:prompt|generation)_tokens_total|prefix_cache_(?:queries|hits)_total"
    r"|request_(?:prompt|generation)_tokens_(?:sum|count)|request_success_total"
    r"|(?:time_to_first_token|inter_token_latency|request_queue_time)_seconds_(?:bucket|sum|count))"
)


class LoadRecord:
    """One shape on one server, as it goes."""

    def __init__(self, server: Server, shape: str, port: int) -> None:
        """Nothing is asked yet."""
        self._port = port
        self._engine = server.engine
        self._known: dict[str, str] = {}
        self._started = time.monotonic()
        options = list(server.options)
        self._lines: list[dict[str, Any]] = [
            {"shape": shape, "engine": server.engine, "version": server.version, "options": options}
            | ({} if server.cells is None else {"cells": server.cells, "is_unified": server.is_unified})
        ]

    def event(self, kind: str, facts: dict[str, Any]) -> None:
        """Note what became of a request."""
        self._lines.append({"at": round(time.monotonic() - self._started, 2), "event": kind, **facts})

    def tick(self) -> None:
        """Ask the server as kvtop does, and keep what it said."""
        line: dict[str, Any] = {}
        if self._engine == "llama.cpp":
            line["slots"] = [_slot(row) for row in json.loads(self._get("/slots"))]
        changed = {}
        for text in self._get("/metrics").splitlines():
            name, _, value = text.rpartition(" ")
            if _WANTED.match(name) and self._known.get(name) != value:
                changed[name] = self._known[name] = value
        line["metrics"] = changed
        self._lines.append({"at": round(time.monotonic() - self._started, 2), **line})

    def save(self, path: Path) -> int:
        """Write the file; returns its size in bytes."""
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in self._lines)
        path.write_bytes(zstandard.ZstdCompressor(level=19).compress(text.encode()))
        return path.stat().st_size

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=30) as reply:
            content: bytes = reply.read()
            return content.decode()


def _slot(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in _SLOT_FIELDS if name in row}
    following = row.get("next_token")
    if following:
        kept["next_token"] = [{name: following[0][name] for name in ("n_remain", "n_decoded")}]
    return kept
