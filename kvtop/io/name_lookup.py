"""Host names are looked up in threads that nothing waits for at the end, one for each name at a time.

asyncio asks the resolver in its pool, which is joined when the loop closes: a name server that does not answer kept
kvtop from leaving for minutes (`options timeout:30 attempts:5`), and took a place of the pool with every refresh.
"""

import asyncio
import socket
from typing import Any

from kvtop.io.daemon_thread import in_daemon_thread

_Found = list[tuple[Any, ...]]


class NameLookup:
    """What a loop asks for addresses (`loop.getaddrinfo`)."""

    def __init__(self) -> None:
        self._asked: dict[tuple[object, ...], asyncio.Task[_Found]] = {}

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002  the loop's own signature
        proto: int = 0,
        flags: int = 0,
    ) -> _Found:
        """The addresses of a host. Raises socket.gaierror, NoThreadError."""
        key = (host, port, family, type, proto, flags)
        for known in [known for known, it in self._asked.items() if it.done()]:
            del self._asked[known]
        if key not in self._asked:
            self._asked[key] = asyncio.ensure_future(
                in_daemon_thread(lambda: list(socket.getaddrinfo(host, port, family, type, proto, flags)))
            )
        # Shielded: who gives up after a time must not take the lookup from who asks next.
        return await asyncio.shield(self._asked[key])


def look_names_up_aside(loop: asyncio.AbstractEventLoop) -> None:
    """Have this loop ask a NameLookup from now on."""
    if not isinstance(getattr(loop.getaddrinfo, "__self__", None), NameLookup):
        loop.getaddrinfo = NameLookup().getaddrinfo  # type: ignore[method-assign]
