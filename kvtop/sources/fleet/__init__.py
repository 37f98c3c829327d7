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
from kvtop.sources.fleet.scrapes import ScrapeIntervals
from kvtop.sources.fleet.series import UP, Series, by_name, finite, first_warning, scrape_errors, vector
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
_AGES = f"timestamp(kvtop_build_info) or timestamp({servers.CACHE}) or timestamp({cards.USED})"
"""When each kind of target was last scraped: a figure that was relayed may be old though it is the newest."""

_SEEN = f"last_over_time({servers.CACHE}[1h]) or last_over_time({servers.INFO}[1h])"
_SEEN_SECONDS = 60.0
"""How often the last hour is asked for: it holds every server that there was."""

ANSWER_SECONDS = 10.0
"""A metrics server under load takes seconds for what thousands of targets say."""
ANSWER_BYTES = 64 * 1024 * 1024
"""Unpacked. A thousand servers with their cards are 6 MB in the largest answer."""
_PARTIAL = "see which store or ingester of the metrics server is down"
KEPT_SECONDS = 120.0
"""How long the last answer to a question stands in for one that failed."""


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """Where to ask. `token` is a bearer token, `tenant` the organisation of a multi-tenant Mimir or Thanos."""

    url: str
    interval_seconds: float = REFRESH_SECONDS
    token: str | None = None
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class _Question:
    """A query, and what its rows are called where the function in it takes their name away."""

    query: str
    name: str = ""


class Fleet:
    """Samples of a cluster. Use it in one event loop."""

    def __init__(self, options: FleetOptions) -> None:
        self._options = options
        self._synthetic_pids = cards.SyntheticPids()
        self._models = LiveModels()
        self._client: HttpClient | None = None
        self._last: Sample | None = None
        self._answers: dict[_Question, tuple[float, tuple[Series, ...]]] = {}
        """The last good answer to each question, with the monotonic time at which it came."""
        self._scrapes = ScrapeIntervals()

    async def samples(self) -> AsyncIterator[Sample]:
        """A Sample every interval, for ever. When the metrics server fails, the last one with the failure in it."""
        while True:
            started = time.monotonic()
            yield await self.sample()
            await asyncio.sleep(max(self._options.interval_seconds - (time.monotonic() - started), 0.05))

    async def sample(self) -> Sample:
        """One look at everything. A question that fails costs its own column, and is told; nothing else."""
        if self._client is None:
            self._client = HttpClient(ANSWER_SECONDS, ANSWER_BYTES, unpacks=True)
        groups = [_Question(_selector(names)) for names in _GROUPS]
        window = f"{self._scrapes.window_seconds}s"
        rates = [
            _Question(f"rate({_selector(servers.GENERATED)}[{window}])", servers.GENERATED_RATE),
            _Question(f"rate({_selector(servers.PROMPT)}[{window}])", servers.PROMPT_RATE),
        ]
        questions = [*groups, *rates, ages := _Question(_AGES), seen := _Question(_SEEN)]
        answers = dict(zip(questions, await asyncio.gather(*map(self._answered, questions)), strict=True))
        failures = tuple(dict.fromkeys(it.failure for it in answers.values() if it.failure is not None))
        if all(answers[it].failure is not None and not answers[it].series for it in groups):
            return self._failed(failures)
        rows = {question: answer.series for question, answer in answers.items()}
        is_down = any(it.name == UP and it.value == 0 for it in rows[groups[-1]])
        why = await self._scrape_errors() if is_down else {}
        # Thousands of series take longer to read than a key may wait for.
        read = partial(
            self._read, [it for group in (*groups, *rates) for it in rows[group]], rows[seen], rows[ages], why
        )
        try:
            found = sanitized(await in_daemon_thread(read))
        except Exception as error:  # noqa: BLE001  what a metrics server says must not end the look at it
            return self._failed((contained(_shown(self._options.url), error, "reading its series"),))
        self._last = replace(found, failures=(*failures, *found.failures))
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

    def _read(
        self, rows: list[Series], seen: tuple[Series, ...], ages: tuple[Series, ...], why: dict[str, str]
    ) -> Sample:
        """In a thread of its own: everything between the answers and the Sample."""
        now = time.time()
        found = by_name(rows)
        scraped: dict[str, float] = {}
        for it in (it for it in ages if math.isfinite(it.value)):
            scraped[it.target] = max(it.value, scraped.get(it.target, it.value))
        self._scrapes.note(scraped)
        stale_seconds = self._scrapes.stale_seconds
        down = {
            it.target: f"its target is down: {why.get(it.label('instance') or '') or 'no reason given'}"
            for it in found.get(UP, ())
            if it.value == 0
        }
        targets = {it.target for it in found[UP]} if found.get(UP) else None
        ours = cards.kvtop_cards(found, now, self._synthetic_pids, scraped, stale_seconds)
        devices = cards.deduplicate(ours, cards.dcgm_cards(found, now, self._synthetic_pids, scraped, stale_seconds))
        readings = servers.deduplicate(
            servers.kvtop_servers(finite(found), self._synthetic_pids),
            servers.vllm_servers(finite(found), devices, self._synthetic_pids),
        )
        readings = servers.with_age(readings, found, now, scraped, stale_seconds)
        readings += servers.lost_servers(seen, readings, down, targets)
        models, keyed = self._with_models(readings)
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

    def _with_models(self, readings: list[ServerReading]) -> tuple[dict[str, ModelFile], list[ServerReading]]:
        """Model configurations from this machine's own hub cache, by name; a model that is not there stays unknown."""
        models: dict[str, ModelFile] = {}
        keyed: list[ServerReading] = []
        loaded: dict[str, tuple[str, ModelFile | None]] = {}
        for reading in readings:
            path = reading.model.path
            if reading.engine != "vllm" or path is None:
                keyed.append(reading)
                continue
            if path not in loaded:
                home = str(Path.home())
                request = ModelRequest(path, None, kind=ModelKind.CHECKPOINT, environ=_own_cache(), home=home)
                loaded[path] = self._models.load(request)[:2]
            key, model = loaded[path]
            if model is not None:
                models[key] = model
            keyed.append(replace(reading, model_key=key if model is not None else None))
        return models, keyed

    async def _answered(self, question: _Question) -> "_Answer":
        """What is known of a question now: its answer, or the last one for a while."""
        asked_at = time.monotonic()
        kept = self._answers.get(question)
        if question.query == _SEEN and kept is not None and asked_at - kept[0] < _SEEN_SECONDS:
            return _Answer(kept[1])
        found = await self._ask(question.query)
        if isinstance(found, Failure):
            return _Answer(kept[1] if kept is not None and asked_at - kept[0] < KEPT_SECONDS else (), found)
        series = found.series
        named = tuple(replace(it, name=question.name) for it in series) if question.name else series
        self._answers[question] = (asked_at, named)
        return _Answer(named, found.failure)

    async def _ask(self, query: str) -> "_Answer | Failure":
        if self._client is None:
            raise AssertionError("unreachable: sample() made it")
        path = f"{QUERY}?query={quote(query, safe='')}"
        headers = {} if self._options.tenant is None else {"X-Scope-OrgID": self._options.tenant}
        reply = await self._client.get(self._options.url, path, self._options.token, headers)
        where = _shown(self._options.url)
        if reply.status in {401, 403}:
            remedy = "put its token into KVTOP_PROMETHEUS_TOKEN"
            return Failure(where, "the metrics server wants a key", remedy)
        if reply.error.startswith("the reply exceeds"):
            return Failure(where, reply.error, "ask a metrics server that holds fewer targets")
        try:
            if reply.status is None:
                raise ValueError(reply.error)
            series, warning = await in_daemon_thread(partial(_parsed, reply.body))
        except (ValueError, RecursionError) as error:
            words = str(error)
            if reply.status not in {None, 200, 400, 422}:
                words = f"status {reply.status} {reply.error}".strip()
            elif isinstance(error, json.JSONDecodeError):
                words = "not an answer of a metrics server"
            return Failure(where, words, "check the address: it is that of Prometheus, Thanos or Mimir itself")
        return _Answer(series, Failure(where, f"a partial answer: {warning}", _PARTIAL) if warning else None)

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


@dataclass(frozen=True, slots=True)
class _Answer:
    """Rows, and what is wrong with them: some are missing, they are those of an earlier look, or there are none."""

    series: tuple[Series, ...]
    failure: Failure | None = None


def _parsed(body: bytes) -> tuple[tuple[Series, ...], str]:
    """The rows, and the first warning or "". Raises ValueError as `vector`, and where the body is no JSON."""
    document = json.loads(body)
    return vector(document), first_warning(document)


def _own_cache() -> tuple[tuple[str, str], ...]:
    """Where this machine's hub cache lies."""
    names = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME")
    return tuple((name, os.environ[name]) for name in names if name in os.environ)


def _selector(names: tuple[str, ...]) -> str:
    """All series of these names; vLLM's under its own name and those that its surroundings give it."""
    if len(names) == 1:
        return names[0]
    own = [name.removeprefix("vllm:") for name in names if name.startswith("vllm:")]
    others = [name for name in names if not name.startswith("vllm:")]
    if own:
        others.append(f"(kserve_|ray_)?vllm[:_]({'|'.join(own)})")
    return f'{{__name__=~"{"|".join(others)}"}}'


def _shown(url: str) -> str:
    """Host and port alone: a URL may hold a password."""
    return urlsplit(url).netloc.rpartition("@")[2] or url
