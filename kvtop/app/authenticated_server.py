"""The web server behind `kvtop serve`: textual-serve, with a door.

A page in any browser can reach a port on loopback, so the door looks at who asks: the Host header against rebinding of
names, the Origin header against pages of others, and a token wherever one is set.
"""

import hmac
import ipaddress
from collections.abc import Awaitable, Callable

from aiohttp import web
from textual_serve.server import Server

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_COOKIE_SECONDS = 12 * 3600


def is_loopback(host: str) -> bool:
    """Is this address of the machine itself alone?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class AuthenticatedServer(Server):
    """Runs `command` once for each browser tab that passes the door. `token` "" lets every page of this host in."""

    def __init__(self, command: str, host: str, port: int, token: str) -> None:
        super().__init__(command, host, port, title="kvtop")
        self.token = token
        self._cookie = f"kvtop_{port}"

    def initialize_logging(self) -> None:
        """No access log: addresses may carry the token."""

    async def on_startup(self, app: web.Application) -> None:  # noqa: ARG002 -- textual-serve's own signature
        where = f"[{self.host}]" if ":" in self.host else self.host
        asked = f"/?token={self.token}" if self.token else "/"
        print(f"kvtop: open http://{where}:{self.port}{asked}  (Ctrl-C ends)", flush=True)

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()

        @web.middleware
        async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._door(request, handler)

        app.middlewares.append(door)
        return app

    async def _door(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if is_loopback(self.host) and not is_loopback(host.rsplit(":", 1)[0]):
            raise web.HTTPForbidden(text="kvtop serves this machine only: open it by 127.0.0.1 or localhost\n")
        origin = request.headers.get("Origin")
        if origin is not None and origin.split("://", 1)[-1] != host:
            raise web.HTTPForbidden(text="kvtop does not answer pages of other sites\n")
        if self.token:
            said = request.query.get("token", "")
            if hmac.compare_digest(said.encode(), self.token.encode()):
                # Out of the address line and its history, into a cookie that scripts cannot read.
                answer = web.HTTPFound("/")
                answer.set_cookie(self._cookie, said, httponly=True, samesite="Strict", max_age=_COOKIE_SECONDS)
                return answer
            kept = request.cookies.get(self._cookie, "")
            if not hmac.compare_digest(kept.encode(), self.token.encode()):
                raise web.HTTPForbidden(text="kvtop wants its token: open the address that it printed\n")
        # The page names its own socket: as the browser knows this host, whatever name that is.
        self.public_url = f"{request.scheme}://{host}"
        return await handler(request)
