"""A small HTTP server on loopback that behaves badly on request."""

import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class _BadServer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        behaviour = getattr(self.server, "behaviour", "") or self.path
        if behaviour == "/hang":
            getattr(self.server, "released").wait(60)  # noqa: B009  set by the fixture, unknown to the type
            return
        if behaviour == "/redirect":
            self.send_response(302)
            self.send_header("Location", "http://192.0.2.1/elsewhere")
            self.end_headers()
            return
        if behaviour == "/packed":
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(gzip.compress(bytes(64 * 1024 * 1024)))
            return
        self.send_response(int(behaviour[1:]) if behaviour[1:].isdigit() else 200)
        self.end_headers()
        if behaviour == "/endless":
            for _ in range(200):
                self.wfile.write(b"x" * 65536)
        elif behaviour == "/drip":
            for _ in range(1200):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)
        else:
            self.wfile.write(self.headers.get("Authorization", "none").encode())

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def bad_server() -> Iterator[ThreadingHTTPServer]:
    """The path says how it behaves: /hang, /redirect, /endless, /drip, /503; others answer their Authorization."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _BadServer)
    server.daemon_threads = True
    server.released = threading.Event()  # type: ignore[attr-defined]  # read by the handler above
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients leave early on purpose
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.released.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
