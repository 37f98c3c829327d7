"""`kvtop serve` as a process, and a tab of it."""

import asyncio
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp

AS_ROOT = ("--allow-root",) if os.geteuid() == 0 else ()


def door_of(url: str) -> str:
    """The printed address without its token."""
    return url.split("?", maxsplit=1)[0]


@asynccontextmanager
async def admitted(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser that opened the printed address and has its cookie."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.get(url) as answer:
            assert answer.status == 200
        yield session


@contextmanager
def serving(
    *arguments: str,
    errors: Path | None = None,
    cwd: Path | None = None,
    kvtop: Sequence[str] = (sys.executable, "-m", "kvtop"),
    **environment: str,
) -> Iterator[tuple[str, str]]:
    """(address that was printed, what else was said) of a server that runs meanwhile; `errors` takes its stderr."""
    with ExitStack() as stack:
        stderr = subprocess.STDOUT if errors is None else stack.enter_context(errors.open("wb"))
        for _ in range(5):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            command = [*kvtop, "serve", "--port", str(port), "--demo", *AS_ROOT, *arguments]
            environ = {**os.environ, **environment}
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=environ, cwd=cwd)
            stack.enter_context(process)
            stack.callback(process.terminate)
            said = introduction(process, port)
            if process.poll() is None:  # else somebody was quicker to take the port
                break
        found = re.search(r"http://\S+", said)
        assert found is not None, said
        yield found.group(), said


def introduction(process: "subprocess.Popen[bytes]", port: int) -> str:
    """What the server says until it can be asked, or until it has ended."""
    assert process.stdout is not None
    said, end = b"", time.monotonic() + 120
    while b"http://" not in said or not said.endswith(b"\n"):
        assert time.monotonic() < end, said
        if select.select([process.stdout], [], [], 0.5)[0]:
            piece = os.read(process.stdout.fileno(), 4096)
            said += piece
            if not piece:
                process.wait(60)
                break
    while process.poll() is None and time.monotonic() < end:
        with socket.socket() as door:
            if door.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    return said.decode()


async def drawn_in_a_tab(url: str, word: bytes, keys: str = "") -> bytes:
    """What a browser's tab is sent, up to that word, for two minutes. `keys` follow once a server is seen."""
    drawn = b""
    async with admitted(url) as session, session.ws_connect(f"{door_of(url)}ws?width=100&height=30") as tab:
        end = time.monotonic() + 120
        while word not in drawn and time.monotonic() < end:
            message = await asyncio.wait_for(tab.receive(), 120)
            drawn += message.data if isinstance(message.data, bytes) else str(message.data).encode()
            if keys and b"KV reserved" in drawn:
                await tab.send_json(["stdin", keys])
                keys = ""
    return drawn
