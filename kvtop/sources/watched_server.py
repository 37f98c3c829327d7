"""One endpoint over time: which answers it has given, how old they are, and what to ask next."""

import time
from types import ModuleType
from urllib.parse import urlsplit

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.server import ServerReading
from kvtop.sources.http import HttpClient, Reply


class WatchedServer:
    """Keeps the last answers of one server, so that a slow endpoint still shows what it last said."""

    def __init__(self, engine: ModuleType, url: str, api_key: str | None) -> None:
        self.engine = engine
        self.url = url
        self.api_key = api_key
        self.options: LaunchOptions | None = None
        self.pids: tuple[int, ...] = ()
        self._replies: dict[str, Reply] = {}
        self._asked_at: dict[str, float] = {}

    @property
    def id(self) -> str:
        """Host and port, as a person would name it."""
        parts = urlsplit(self.url)
        return parts.netloc.rpartition("@")[2] or self.url

    async def refresh(self, client: HttpClient) -> None:
        """Ask what is due. `/props` first: what it says decides whether the rest may be asked."""
        replies: dict[str, Reply] = {}
        asked: set[str] = set()
        paths = self.engine.wanted(None, self.options)
        while paths:
            for path in paths:
                replies[path] = await self._ask(client, path)
                asked.add(path)
            first = replies[self.engine.PROPS]
            paths = tuple(path for path in self.engine.wanted(first, self.options) if path not in asked)
        self._replies = replies

    async def _ask(self, client: HttpClient, path: str) -> Reply:
        age_limit = self.engine.SELDOM_SECONDS.get(path, 0.0)
        before = self._replies.get(path)
        now = time.monotonic()
        if before is not None and before.status == 200 and now - self._asked_at.get(path, -1e9) < age_limit:
            return before
        self._asked_at[path] = now
        return await client.get(self.url, path, self.api_key)

    def reading(self) -> ServerReading:
        """What is known now."""
        reading: ServerReading = self.engine.read(self.id, self.url, self._replies, self.options, self.pids)
        return reading
