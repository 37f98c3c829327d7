"""A small HTTP server for metrics: GET of one page, from memory, and nothing else."""

import ipaddress
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PATH = "/metrics"
_INDEX = b"<!DOCTYPE html><title>kvtop</title><p><a href=/metrics>metrics</a></p>\n"
_LINGER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Page:
    """An answer. `status` 503: there is nothing fresh to tell, and a scraper should call the target down."""

    body: bytes
    content_type: str
    status: int = 200


Render = Callable[[str], Page]
"""The page for a request's Accept header; called in the request's own thread."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    render: Render
    is_local: bool


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "kvtop"
    sys_version = ""
    timeout = _LINGER_SECONDS

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        server = self.server
        assert isinstance(server, _Server), "made by MetricsServer"
        path = urlsplit(self.path).path
        if server.is_local and not _is_local(self.headers.get("Host", "")):
            # A web page may have its own name point here; its scripts must not read what is meant for this machine.
            page = Page(b"this exporter listens for this machine only\n", "text/plain", 403)
        elif path == PATH:
            page = server.render(self.headers.get("Accept", ""))
        elif path == "/":
            page = Page(_INDEX, "text/html; charset=utf-8")
        else:
            page = Page(b"there is only /metrics\n", "text/plain", 404)
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        if with_body:
            self.wfile.write(page.body)

    def log_message(self, *_: object) -> None:
        """Scrapes are no news."""


class MetricsServer:
    """Listens from construction, answers from `start` to `close`. Raises OSError when it cannot listen there."""

    def __init__(self, host: str, port: int, render: Render) -> None:
        self._server = (_Server6 if ":" in host else _Server)((host, port), _Handler)
        self._server.render = render
        self._server.is_local = _is_local(host)
        self._thread = threading.Thread(target=self._server.serve_forever, name="kvtop metrics", daemon=True)

    @property
    def port(self) -> int:
        """The port in use; the kernel's choice where 0 was asked for."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _is_local(host: str) -> bool:
    """Whether a Host header or an address names this machine's loopback."""
    name = urlsplit(f"//{host}").hostname or host if host.count(":") <= 1 or host.startswith("[") else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
