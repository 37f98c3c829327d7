"""A cluster as one host: Samples from an existing Prometheus, Thanos or Mimir. No agent of kvtop's own is needed."""

import asyncio
import json
import math
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

from kvtop.domain.model_file import ModelFile
from kvtop.domain.sample import Failure, Sample
from kvtop.domain.server import ServerReading
from kvtop.io.daemon_thread import in_daemon_thread
from kvtop.io.fault_reports import contained
from kvtop.sources.endpoints.http import HttpClient
from kvtop.sources.fleet import cards, servers
from kvtop.sources.fleet.series import UP, Series, by_name, finite, scrape_errors, vector
from kvtop.sources.models.live_models import LiveModels, ModelKind, ModelRequest
from kvtop.sources.redaction.sanitize import sanitized

QUERY, TARGETS = "/api/v1/query", "/api/v1/targets?state=active"
REFRESH_SECONDS = 5.0
"""The minimum interval: metrics servers scrape every 15 to 60 seconds."""

_GROUPS = (
    servers.VLLM_NAMES,
    (cards.USED, cards.FREE, cards.RESERVED, *cards.EXTRAS),
    (cards.KVTOP_TOTAL, cards.KVTOP_USED, cards.KVTOP_RESERVED, cards.KVTOP_DRIVER),
    (servers.INFO, servers.SEGMENTS, servers.OLD_SEGMENTS, servers.CAPACITY, servers.TOKENS, servers.RATIO, servers.UP),
    (UP,),
)
_AGES = ("timestamp(kvtop_build_info)", f"timestamp({servers.CACHE})", f"timestamp({cards.USED})")
"""When each kind of target was last scraped: a figure that was relayed may be old though it is the newest."""

_SEEN = f"last_over_time({servers.CACHE}[1h]) or last_over_time({servers.INFO}[1h])"


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """Where to ask. `token` is a bearer token, `tenant` the organisation of a multi-tenant Mimir or Thanos."""

    url: str
    interval_seconds: float = REFRESH_SECONDS
    token: str | None = None
    tenant: str | None = None


class Fleet:
    """Samples of a cluster. Use it in one event loop."""

    def __init__(self, options: FleetOptions) -> None:
        self._options = options
        self._synthetic_pids = cards.SyntheticPids()
        self._models = LiveModels()
        self._client: HttpClient | None = None
        self._last: Sample | None = None

    async def samples(self) -> AsyncIterator[Sample]:
        """A Sample every interval, for ever. When the metrics server fails, the last one with the failure in it."""
        while True:
            started = time.monotonic()
            yield await self.sample()
            await asyncio.sleep(max(self._options.interval_seconds - (time.monotonic() - started), 0.05))

    async def sample(self) -> Sample:
        """One look at everything."""
        if self._client is None:
            self._client = HttpClient(timeout_seconds=4.0)
        queries = [*(_selector(names) for names in _GROUPS), *_AGES, _SEEN]
        answers = await asyncio.gather(*(self._ask(query) for query in queries))
        failures = tuple(dict.fromkeys(it for it in answers if isinstance(it, Failure)))
        if failures:
            return self._failed(failures)
        known = [it for it in answers if not isinstance(it, Failure)]
        found = by_name(series for it in known[: len(_GROUPS)] for series in it)
        now = time.time()
        scraped: dict[str, float] = {}
        for it in (it for ages in known[len(_GROUPS) : -1] for it in ages if math.isfinite(it.value)):
            scraped[it.target] = max(it.value, scraped.get(it.target, it.value))
        why = await self._scrape_errors() if any(it.value == 0 for it in found.get(UP, ())) else {}
        try:
            self._last = sanitized(await self._read(found, known[-1], now, scraped, why))
        except Exception as error:  # noqa: BLE001  what a metrics server says must not end the look at it
            return self._failed((contained(_shown(self._options.url), error, "reading its series"),))
        return self._last

    async def aclose(self) -> None:
        """Close all connections; the next sample opens them again."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _scrape_errors(self) -> dict[str, str]:
        """Why targets are down, by instance; empty where nobody says (a Thanos or Mimir scrapes nothing itself)."""
        if self._client is None:
            return {}
        headers = {} if self._options.tenant is None else {"X-Scope-OrgID": self._options.tenant}
        reply = await self._client.get(self._options.url, TARGETS, self._options.token, headers)
        return scrape_errors(reply.body) if reply.status == 200 else {}

    async def _read(
        self,
        found: dict[str, list[Series]],
        seen: tuple[Series, ...],
        now: float,
        scraped: dict[str, float],
        why: dict[str, str],
    ) -> Sample:
        down = {
            it.target: f"its target is down: {why.get(it.target) or 'no reason given'}"
            for it in found.get(UP, ())
            if it.value == 0
        }
        ours = cards.kvtop_cards(found, now, self._synthetic_pids, scraped)
        devices = cards.deduplicate(ours, cards.dcgm_cards(found, now, self._synthetic_pids, scraped))
        readings = servers.deduplicate(
            servers.kvtop_servers(finite(found), self._synthetic_pids),
            servers.vllm_servers(finite(found), devices, self._synthetic_pids),
        )
        readings = servers.with_age(readings, found, now, scraped)
        readings += servers.lost_servers(seen, readings, down)
        models, keyed = await self._with_models(readings)
        return Sample(
            taken_at=now,
            host=_shown(self._options.url),
            devices=devices,
            servers=tuple(keyed),
            models=models,
            failures=tuple(
                Failure(f"target {target}", down[target], "look at the page of targets of the metrics server")
                for target in sorted(down)
            ),
        )

    async def _with_models(self, readings: list[ServerReading]) -> tuple[dict[str, ModelFile], list[ServerReading]]:
        """Model configurations from this machine's own hub cache, by name; a model that is not there stays unknown."""
        models: dict[str, ModelFile] = {}
        keyed: list[ServerReading] = []
        for reading in readings:
            path = reading.model.path
            if reading.engine != "vllm" or path is None:
                keyed.append(reading)
                continue
            request = ModelRequest(path, None, kind=ModelKind.CHECKPOINT, environ=_own_cache(), home=str(Path.home()))
            key, model, _ = await in_daemon_thread(partial(self._models.load, request))
            if model is not None:
                models[key] = model
            keyed.append(replace(reading, model_key=key if model is not None else None))
        return models, keyed

    async def _ask(self, query: str) -> tuple[Series, ...] | Failure:
        if self._client is None:
            raise AssertionError("unreachable: sample() made it")
        path = f"{QUERY}?query={quote(query, safe='')}"
        headers = {} if self._options.tenant is None else {"X-Scope-OrgID": self._options.tenant}
        reply = await self._client.get(self._options.url, path, self._options.token, headers)
        where = _shown(self._options.url)
        if reply.status in {401, 403}:
            remedy = "put its token into KVTOP_PROMETHEUS_TOKEN"
            return Failure(where, "the metrics server wants a key", remedy)
        try:
            if reply.status is None:
                raise ValueError(reply.error)
            return vector(json.loads(reply.body))
        except (ValueError, RecursionError) as error:
            words = str(error)
            if reply.status not in {None, 200, 400, 422}:
                words = f"status {reply.status} {reply.error}".strip()
            elif isinstance(error, json.JSONDecodeError):
                words = "not an answer of a metrics server"
            return Failure(where, words, "check the address: it is that of Prometheus, Thanos or Mimir itself")

    def _failed(self, failures: tuple[Failure, ...]) -> Sample:
        if self._last is None:
            return Sample(time.time(), _shown(self._options.url), failures=failures)
        return replace(self._last, taken_at=time.time(), failures=(*failures, *self._last.failures))


def take_fleet_sample(options: FleetOptions) -> Sample:
    """One look, and everything closed again."""

    async def once() -> Sample:
        fleet = Fleet(options)
        try:
            return await fleet.sample()
        finally:
            await fleet.aclose()

    return asyncio.run(once())


def _own_cache() -> tuple[tuple[str, str], ...]:
    """Where this machine's hub cache lies."""
    names = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME")
    return tuple((name, os.environ[name]) for name in names if name in os.environ)


def _selector(names: tuple[str, ...]) -> str:
    return f'{{__name__=~"{"|".join(names)}"}}' if len(names) > 1 else names[0]


def _shown(url: str) -> str:
    """Host and port alone: a URL may hold a password."""
    return urlsplit(url).netloc.rpartition("@")[2] or url
