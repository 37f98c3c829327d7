"""One endpoint over time: which answers it has given, how old they are, and what to ask next."""

import time
from dataclasses import replace
from urllib.parse import urlsplit

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.process import Process
from kvtop.domain.server import ServerReading, ServerState
from kvtop.io.fault_reports import contained
from kvtop.sources.endpoints.engine import Engine, ServerInputs
from kvtop.sources.endpoints.http import HttpClient, Reply
from kvtop.sources.engines import engine_of_replies, unidentified

_REFUSED = frozenset({401, 403})


class WatchedServer:
    """Keeps the last answers of one server, so that a slow endpoint still shows what it last said.

    `url` None: it cannot be asked, and `reach_note` says why. `engine` None: to be recognised from its answers.
    """

    def __init__(self, engine: Engine | None, url: str | None, api_key: str | None) -> None:
        self.engine: Engine = engine if engine is not None else unidentified
        self.url = url
        self.api_key = api_key
        self.options: LaunchOptions | None = None
        self.processes: tuple[Process, ...] = ()
        self.reach_note = ""
        self.is_listening: bool | None = None
        self._replies: dict[str, Reply] = {}
        self._asked_at: dict[str, float] = {}

    @property
    def id(self) -> str:
        """Host and port, as a person would name it; the process where there is no endpoint."""
        if self.url is None:
            return f"pid {self.processes[0].pid}" if self.processes else self.engine.NAME
        parts = urlsplit(self.url)
        return parts.netloc.rpartition("@")[2] or self.url

    def detach(self) -> None:
        """No process of this machine is behind the endpoint: it is another machine's, or gone."""
        self.options, self.processes, self.reach_note, self.is_listening = None, (), "", None

    def forget(self) -> None:
        """Drop all answers: another process is behind the endpoint now."""
        self._replies = {}

    async def refresh(self, client: HttpClient) -> None:
        """Ask what is due, in the engine's order: what was answered decides what may be asked next."""
        is_recognised = self.engine is not unidentified
        if is_recognised and not self.processes and self.reading().state is ServerState.ERROR:
            self.engine = unidentified  # something else may listen there now
            self.forget()
        replies: dict[str, Reply] = {}
        while paths := self._due(replies):
            for path in paths:
                replies[path] = await self._ask(client, path)
            if self.engine is unidentified:
                self.engine = engine_of_replies(replies) or unidentified
        self._replies = replies

    def _due(self, replies: dict[str, Reply]) -> list[str]:
        return [path for path in self.engine.wanted(replies, self.options) if path not in replies]

    async def _ask(self, client: HttpClient, path: str) -> Reply:
        if self.url is None:
            return Reply(path, None, error=self.reach_note)
        age_limit = self.engine.SELDOM_SECONDS.get(path, 0.0)
        before = self._replies.get(path)
        now = time.monotonic()
        is_answer = before is not None and before.status is not None and before.status < 500
        if before is not None and is_answer and now - self._asked_at.get(path, -1e9) < age_limit:
            return before
        self._asked_at[path] = now
        return await client.get(self.url, path, self.api_key)

    def reading(self) -> ServerReading:
        """What is known now. Where kvtop stumbles over the replies, the server is there without what they say."""
        known = ServerInputs(
            self.id, self.url, self._replies, self.options, self.processes, self.reach_note, self.is_listening
        )
        try:
            return replace(self.engine.read(known), wants_key=self._wants_key())
        except Exception as error:  # noqa: BLE001  one server's replies must not take the other servers along
            failure = contained(self.id, error, f"reading the replies of {self.engine.NAME}")
            return ServerReading(
                id=known.id,
                engine=self.engine.NAME,
                state=ServerState.ERROR,
                url=known.url,
                hint=f"{failure.message}; {failure.remedy}",
                pids=known.pids,
                launch=known.options,
                is_remote=not known.processes,
            )

    def _wants_key(self) -> bool | None:
        """By what it answered: a refusal says that there is a key, an answer without one that there is none."""
        if any(reply.status in _REFUSED for reply in self._replies.values()):
            return True
        answered = any(path in self._replies and self._replies[path].status == 200 for path in self.engine.KEYED_PATHS)
        return False if answered and not self.api_key else None
