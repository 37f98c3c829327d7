"""A small HTTP server for metrics: GET of one page, from memory, and nothing else."""

import io
import ipaddress
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from kvtop.domain.sample import Failure
from kvtop.io.daemon_thread import started
from kvtop.io.fault_reports import contained
from kvtop.io.web_config import WebConfig

PATH = "/metrics"
_INDEX = b"<!DOCTYPE html><title>kvtop</title><p><a href=/metrics>metrics</a></p>\n"
_LINGER_SECONDS = 10.0
"""For a whole request, however its bytes trickle in, and for a connection that asks nothing more."""

_CONNECTIONS = 64
"""For one more, the one that has been idle for longest is closed: scrapers are a handful, and whoever opens more must
neither take the machine's threads nor shut the scrapers out."""
_ANSWERS = 8
"""Requests that are answered at a time; the others wait their turn, for as long as a request may take."""


@dataclass(frozen=True, slots=True)
class Page:
    """An answer. `status` 503: there is nothing fresh to tell, and a scraper should call the target down."""

    body: bytes
    content_type: str
    status: int = 200


_PLAIN = WebConfig()

Render = Callable[[str], Page]
"""The page for a request's Accept header; called in the request's own thread."""


_Request = socket.socket | tuple[bytes, socket.socket]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = _CONNECTIONS
    render: Render
    is_local: bool
    web: WebConfig

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.answering = threading.BoundedSemaphore(_ANSWERS)
        self._lock = threading.Lock()
        self._open: dict[object, socket.socket] = {}
        self._idle: dict[object, None] = {}
        self._said: set[Failure] = set()

    def process_request(self, request: _Request, client_address: object) -> None:
        """Answer in a thread of its own; where all are taken, an idle connection gives its own."""
        assert isinstance(request, socket.socket), "a stream server"
        with self._lock:
            if len(self._open) >= _CONNECTIONS and not self._make_room():
                self.shutdown_request(request)
                return
            # A second descriptor of the same connection: ending it needs no word with the thread, or with TLS.
            self._open[client_address] = request.dup()
            self._idle[client_address] = None
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the machine gives no thread now
            self._forget(client_address)
            self.shutdown_request(request)

    def _make_room(self) -> bool:
        """End the longest idle connection, whose thread then leaves by itself; False where each has a request."""
        oldest = next(iter(self._idle), None)
        if oldest is None:
            return False
        del self._idle[oldest]
        with self._open.pop(oldest) as ended, suppress(OSError):
            ended.shutdown(socket.SHUT_RDWR)
        return True

    def set_idle(self, client_address: object, *, is_idle: bool) -> None:
        """A connection without a whole request may be ended for another one."""
        with self._lock:
            self._idle.pop(client_address, None)
            if is_idle and client_address in self._open:
                self._idle[client_address] = None

    def _forget(self, client_address: object) -> None:
        with self._lock:
            self._idle.pop(client_address, None)
            known = self._open.pop(client_address, None)
        if known is not None:
            known.close()

    def finish_request(self, request: _Request, client_address: object) -> None:
        """As usual, inside TLS where that is wanted. A handshake has the time of a request."""
        if self.web.tls is None or not isinstance(request, socket.socket):
            super().finish_request(request, client_address)
            return
        request.settimeout(_LINGER_SECONDS)
        with self.web.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False) as inside:
            inside.do_handshake()
            super().finish_request(inside, client_address)

    def process_request_thread(self, request: _Request, client_address: object) -> None:
        """The thread's work; its place is free afterwards."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(client_address)

    def handle_error(self, request: _Request, client_address: object) -> None:  # noqa: ARG002  the server's signature
        """A client that went away is no news; anything else is one line, said once."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            failure = contained("a request", error, "answering")
            if failure not in self._said:
                self._said.add(failure)
                print(f"kvtop: {failure.source}: {failure.message}; {failure.remedy}", file=sys.stderr)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "kvtop"
    sys_version = ""
    timeout = _LINGER_SECONDS

    def setup(self) -> None:
        """As usual, but what is read has a deadline."""
        super().setup()
        self._reader = _DeadlineSocket(self.connection)
        self.rfile = io.BufferedReader(self._reader)

    def handle_one_request(self) -> None:
        """One request, within its time."""
        self._reader.ends = time.monotonic() + _LINGER_SECONDS
        self._server().set_idle(self.client_address, is_idle=True)
        super().handle_one_request()

    def _server(self) -> _Server:
        assert isinstance(self.server, _Server), "made by MetricsServer"
        return self.server

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """A refusal in one line of plain text, without what was asked."""
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        self.close_connection = True
        self._send(Page(f"{status.phrase}\n".encode(), "text/plain", status), with_body=self.command != "HEAD")

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        server = self._server()
        server.set_idle(self.client_address, is_idle=False)
        if not server.answering.acquire(timeout=_LINGER_SECONDS):
            self.close_connection = True
            self._send(Page(b"too many requests at a time\n", "text/plain", 503), with_body=with_body)
            return
        try:
            page = self._page(server)
        finally:
            server.answering.release()
        self._send(page, with_body=with_body)

    def _page(self, server: _Server) -> Page:
        path = self.path.partition("?")[0].partition("#")[0]
        host = self.headers.get("Host")
        if server.is_local and host is not None and not _is_local(host):
            # A web page may have its own name point here; its scripts must not read what is meant for this machine.
            return Page(b"this exporter listens for this machine only\n", "text/plain", 403)
        passwords = server.web.passwords
        if passwords is not None and not passwords.admit(self.headers.get("Authorization")):
            return Page(b"Unauthorized\n", "text/plain", 401)
        if path == PATH:
            return server.render(self.headers.get("Accept", ""))
        if path == "/":
            return Page(_INDEX, "text/html; charset=utf-8")
        return Page(b"there is only /metrics\n", "text/plain", 404)

    def _send(self, page: Page, *, with_body: bool) -> None:
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        if page.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        if page.status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Basic")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if with_body:
            self.wfile.write(page.body)

    def log_message(self, *_: object) -> None:
        """Scrapes are no news."""


class _DeadlineSocket(io.RawIOBase):
    """A socket that is read until a moment: a client that sends a byte now and then holds no thread for ever."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.ends = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  any buffer: there is no type of it before 3.12
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class MetricsServer:
    """Listens from construction, answers from `start` to `close`. Raises OSError when it cannot listen there."""

    def __init__(self, host: str, port: int, render: Render, web: WebConfig = _PLAIN) -> None:
        self._server = (_Server6 if ":" in host else _Server)((host, port), _Handler)
        self._server.render = render
        self._server.web = web
        self._server.is_local = _is_local(host)
        self._thread = threading.Thread(target=self._server.serve_forever, name="kvtop metrics", daemon=True)

    @property
    def port(self) -> int:
        """The port in use; the kernel's choice where 0 was asked for."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Answer from now on. Raises NoThreadError."""
        started(self._thread)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _is_local(host: str) -> bool:
    """Whether a Host header or an address names this machine's loopback."""
    try:
        name = urlsplit(f"//{host}").hostname or host if host.count(":") <= 1 or host.startswith("[") else host
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
