"""The web server behind `kvtop serve`: textual-serve, with a door.

A page in any browser and every user of the machine can reach a port on loopback, so the door looks at who asks: the
Host header against rebinding of names, the Origin header against pages of others, and always a token, as Jupyter does.
"""

import hmac
import ipaddress
import logging
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

from aiohttp import web
from textual_serve.server import Server

from kvtop.io.fault_reports import contained

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_COOKIE_SECONDS = 12 * 3600
_PAGE = Path(__file__).parent / "serve_page"
"""The page of textual-serve asks another host for its fonts, and may be shown inside the page of anybody."""
TABS_MOST = 16
"""Each tab is a process of its own."""
_PUBLIC_IPV4, _PUBLIC_IPV6 = "192.0.2.1", "2001:db8::1"
"""Addresses for documentation: nothing is sent to them, the kernel says which of its own it would send from."""
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; font-src 'self'; "
        "img-src 'self' data: blob:; connect-src 'self' {socket}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Is this address of the machine itself alone?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def reachable_host(host: str) -> str:
    """A name for `host` that a browser can open: 0.0.0.0 and :: stand for every address and are none themselves.

    The address from which this machine would send to others; its name where it has no way to any.
    """
    if host not in {"0.0.0.0", "::"}:
        return host
    family, other = (socket.AF_INET6, _PUBLIC_IPV6) if host == "::" else (socket.AF_INET, _PUBLIC_IPV4)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((other, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostname()


class _Faults(logging.Handler):
    """What aiohttp and textual-serve log of a request that failed: a report and one line, never a traceback."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is None or isinstance(error, OSError | web.HTTPException):
            return
        failure = contained("a request", error, "answering")
        if failure.message not in self._said:
            self._said.add(failure.message)
            print(f"kvtop: {failure.source}: {failure.message}; {failure.remedy}", file=sys.stderr, flush=True)


class AuthenticatedServer(Server):
    """Runs `command` once for each browser tab that passes the door."""

    def __init__(self, command: str, host: str, port: int, token: str) -> None:
        """Raises ValueError for an empty token: every user of the machine would drive the dashboard as this one."""
        if not token:
            raise ValueError("an empty token")
        super().__init__(command, host, port, title="kvtop", templates_path=_PAGE)
        self.token = token
        self._cookie, self._pass = f"kvtop_{port}", secrets.token_urlsafe(24)
        self._tabs = 0

    def initialize_logging(self) -> None:
        """No access log: addresses may carry the token."""
        faults = _Faults()
        for name in ("aiohttp", "textual-serve"):
            logging.getLogger(name).addHandler(faults)
            logging.getLogger(name).propagate = False

    async def on_startup(self, app: web.Application) -> None:  # noqa: ARG002 -- textual-serve's own signature
        host = reachable_host(self.host)
        where = f"[{host}]" if ":" in host else host
        print(f"kvtop: open http://{where}:{self.port}/?token={quote(self.token)}  (Ctrl-C ends)", flush=True)

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()

        @web.middleware
        async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._door(request, handler)

        app.middlewares.append(door)
        app.on_response_prepare.append(_add_headers)
        app.router.add_static("/page", _PAGE)
        return app

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """A tab, where there are not too many."""
        if self._tabs >= TABS_MOST:
            raise web.HTTPServiceUnavailable(text=f"kvtop shows at most {TABS_MOST} tabs at once: close one of them\n")
        self._tabs += 1
        try:
            return await super().handle_websocket(request)
        finally:
            self._tabs -= 1

    async def _door(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if is_loopback(self.host) and not is_loopback(host.rsplit(":", 1)[0]):
            raise web.HTTPForbidden(text="kvtop serves this machine only: open it by 127.0.0.1 or localhost\n")
        origin = request.headers.get("Origin")
        if origin is not None and origin.split("://", 1)[-1] != host:
            raise web.HTTPForbidden(text="kvtop does not answer pages of other sites\n")
        said = request.query.get("token", "")
        if hmac.compare_digest(said.encode(), self.token.encode()):
            # Out of the address line and its history, into a cookie that scripts cannot read.
            answer = web.HTTPFound("/")
            answer.set_cookie(self._cookie, self._pass, httponly=True, samesite="Strict", max_age=_COOKIE_SECONDS)
            return answer
        kept = request.cookies.get(self._cookie, "")
        if not hmac.compare_digest(kept.encode(), self._pass.encode()):
            raise web.HTTPForbidden(text="kvtop needs its token: open the address that it printed\n")
        # The page names its own socket: as the browser knows this host, whatever name that is.
        self.public_url = f"{request.scheme}://{host}"
        return await handler(request)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Nothing may be loaded from elsewhere, and no other page may show this one."""
    own_socket = f"{'wss' if request.scheme == 'https' else 'ws'}://{request.host}"
    for name, value in _HEADERS.items():
        response.headers[name] = value.replace("{socket}", own_socket)
