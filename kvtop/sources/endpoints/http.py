"""The only file that imports the HTTP client. GET only, bounded in size and time, never redirected.

httpx2 is the maintained continuation of httpx, which has had no release since 2024; see docs/decisions.md.
"""

import asyncio
import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from kvtop.io.daemon_thread import NoThreadError
from kvtop.io.name_lookup import look_names_up_aside

_CAUSES_MOST = 16
BODY_LIMIT_BYTES = 4 * 1024 * 1024
"""More than any reply a server of ours gives; a larger one is an error, not a memory problem."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Reply:
    """The answer to one GET. `status` None: no answer, and `error` says why in a few words."""

    path: str
    status: int | None
    body: bytes = b""
    server: str = ""
    error: str = ""


class HttpClient:
    """One connection pool for all endpoints. Used from one event loop; close it with `aclose`."""

    def __init__(
        self, timeout_seconds: float = 2.0, body_limit_bytes: int = BODY_LIMIT_BYTES, *, unpacks: bool = False
    ) -> None:
        """`body_limit_bytes` bounds a body, unpacked; `unpacks` asks for gzip."""
        import httpx2  # noqa: PLC0415  costs 100 ms of start-up: only where there is an endpoint to ask

        self._module = httpx2
        self._timeout_seconds = timeout_seconds
        self._body_limit_bytes = body_limit_bytes
        self._packing = "gzip" if unpacks else "identity"
        self._client = httpx2.AsyncClient(timeout=timeout_seconds, follow_redirects=False, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def get(
        self, base_url: str, path: str, api_key: str | None = None, extra: Mapping[str, str] | None = None
    ) -> Reply:
        """GET `base_url` + `path`, with `extra` headers. Never raises for what a server or a network can do."""
        # Unpacked, a small answer may have no end: servers of ours send theirs as they are.
        accepted = self._packing.encode()
        headers = {b"Accept": b"application/json, text/plain; version=0.0.4", b"Accept-Encoding": accepted}
        headers |= {name.encode(): value.encode() for name, value in (extra or {}).items()}
        if api_key:
            # As bytes: a key may hold any character, and the client takes only ASCII for text.
            headers[b"Authorization"] = f"Bearer {api_key}".encode()
        look_names_up_aside(asyncio.get_running_loop())
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._get(base_url.rstrip("/") + path, path, headers)
        except TimeoutError:
            return Reply(path, None, error=f"no answer within {self._timeout_seconds:g} s")
        except self._module.InvalidURL as error:
            return Reply(path, None, error=f"not a usable URL: {error}")
        except OverflowError:  # out of the socket itself
            return Reply(path, None, error="not a usable URL: ports end at 65535")
        except (self._module.HTTPError, NoThreadError) as error:
            return Reply(path, None, error=_words(error))

    async def _get(self, url: str, path: str, headers: Mapping[bytes, bytes]) -> Reply:
        async with self._client.stream("GET", url, headers=headers) as response:
            server = response.headers.get("server", "")
            if response.is_redirect:
                return Reply(path, response.status_code, server=server, error="redirects are not followed")
            packed = response.headers.get("content-encoding", "identity")
            if packed not in {"identity", self._packing}:
                return Reply(path, None, server=server, error="the reply is packed, though kvtop asked for it as it is")
            chunks: list[bytes] = []
            size_bytes = 0
            async for chunk in response.aiter_bytes():
                size_bytes += len(chunk)
                if size_bytes > self._body_limit_bytes:
                    return Reply(path, None, server=server, error=f"the reply exceeds {self._body_limit_bytes} bytes")
                chunks.append(chunk)
            return Reply(path, response.status_code, b"".join(chunks), server)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def _words(error: Exception) -> str:
    cause = _socket_error(error)
    if isinstance(cause, NoThreadError):
        return str(cause.strerror)
    if cause is not None and cause.errno is not None:
        if cause.errno == errno.ECONNREFUSED:
            return "connection refused"
        # Negative: of the resolver, which has words of its own.
        return (os.strerror(cause.errno) if cause.errno > 0 else cause.strerror or str(cause)).lower()
    return (str(error) or type(error).__name__)[:200]


def _socket_error(error: BaseException | None) -> OSError | None:
    """What the system said, below what the client makes of it: of several attempts the first."""
    seen = 0
    while error is not None and seen < _CAUSES_MOST:
        if isinstance(error, OSError) and error.errno is not None:
            return error
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
        error = inner or error.__context__
        seen += 1
    return None
