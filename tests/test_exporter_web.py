"""Who may scrape, and that nobody keeps others from it: idle connections, TLS, passwords."""

import base64
import contextlib
import http.client
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvtop.io.metrics_server import MetricsServer, Page
from kvtop.io.passwords import _library
from kvtop.io.web_config import WebConfigError, read_web_config


@pytest.fixture(scope="module")
def hashed() -> str:
    """bcrypt of "right", at its lowest cost, by this machine's own crypt(3)."""
    try:
        library = _library()
    except ValueError as error:
        pytest.skip(str(error))
    made: bytes | None = library.crypt(b"right", b"$2b$04$abcdefghijklmnopqrstuu")
    if made is None or not made.startswith(b"$2b$"):
        pytest.skip("crypt(3) of this machine has no bcrypt")
    return made.decode()


def serving(web: Path | None = None) -> MetricsServer:
    config = read_web_config(web) if web is not None else None
    arguments = () if config is None else (config,)
    server = MetricsServer("127.0.0.1", 0, lambda _: Page(b"up 1\n", "text/plain"), *arguments)
    server.start()
    return server


@contextlib.contextmanager
def served(web: Path | None = None) -> Iterator[int]:
    server = serving(web)
    try:
        yield server.port
    finally:
        server.close()


def status_of(port: int, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics", headers=headers)
        return connection.getresponse().status


def test_scrapes_succeed_while_silent_connections_are_held() -> None:
    """64 of them, opened again whenever one is closed, denied every scrape."""
    with served() as port, contextlib.ExitStack() as held:
        for _ in range(20):
            for _ in range(16):
                held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            assert status_of(port) == 200


def test_a_half_request_is_idle_too() -> None:
    with served() as port, contextlib.ExitStack() as held:
        for _ in range(100):
            client = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: ")
        assert status_of(port) == 200


def test_connections_that_have_left_leave_no_descriptor() -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("descriptors are counted in /proc")
    with served() as port:
        assert status_of(port) == 200
        before = len(list(descriptors.iterdir()))
        for _ in range(200):
            socket.create_connection(("127.0.0.1", port), timeout=30).close()
        ends = time.monotonic() + 60
        while len(list(descriptors.iterdir())) > before + 4:
            assert time.monotonic() < ends
            time.sleep(0.05)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_only_who_knows_the_password_is_answered(hashed: str, tmp_path: Path) -> None:
    web = tmp_path / "web.yml"
    web.write_text(f"# scrapers\nbasic_auth_users:\n  prometheus: {hashed}\n  other: '{hashed}'\n")
    with served(web) as port:
        assert status_of(port) == 401
        for header in ("", "Basic", "Basic !", "Bearer x", basic("prometheus", "wrong"), basic("nobody", "right")):
            assert status_of(port, Authorization=header) == 401
        assert status_of(port, Authorization=basic("prometheus", "right\0x")) == 401
        assert status_of(port, Authorization=basic("prometheus", "right" + "x" * 5000)) == 401
        for user in ("prometheus", "other"):
            for _ in range(2):
                assert status_of(port, Authorization=basic(user, "right")) == 200


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    names += ["-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(["openssl", *words, *names], cwd=folder, check=True, capture_output=True)
    return folder


def https_status(port: int, folder: Path, *, with_certificate: bool = False) -> int:
    context = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    if with_certificate:
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        return connection.getresponse().status


def test_with_a_certificate_scrapes_are_encrypted(certificate: Path) -> None:
    web = certificate / "web.yml"
    web.write_text("tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n  min_version: TLS13\n")
    with served(web) as port, contextlib.ExitStack() as held:
        assert https_status(port, certificate) == 200
        with pytest.raises((OSError, http.client.HTTPException)):
            status_of(port)
        for _ in range(100):  # handshakes that never come
            held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        assert https_status(port, certificate) == 200


def test_clients_may_have_to_show_a_certificate(certificate: Path) -> None:
    web = certificate / "mutual.yml"
    lines = ("cert_file: cert.pem", "key_file: key.pem", "client_ca_file: cert.pem")
    kind = "client_auth_type: RequireAndVerifyClientCert"
    web.write_text("tls_server_config:\n" + "".join(f"  {line}\n" for line in (*lines, kind)))
    with served(web) as port:
        assert https_status(port, certificate, with_certificate=True) == 200
        with pytest.raises((OSError, http.client.HTTPException)):
            https_status(port, certificate)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("basic_auth_users:\n", "no users"),
        ("basic_auth_users:\n  a: CANARY\n", "bcrypt"),
        ("basic_auth_users:\n  a: $2b$04$CANARY\n", "bcrypt"),
        ("basic_auth_user:\n  a: CANARY\n", "line 1"),
        ("  a: CANARY\n", "line 1"),
        ("rate_limit:\n  burst: 1\n", "line 1"),
        ("nonsense CANARY", "line 1"),
        ("tls_server_config:\n  cert_file: CANARY\n", "key_file"),
        ("tls_server_config:\n  cert_file: /CANARY\n  key_file: /CANARY\n", "cannot be used"),
        ("tls_server_config:\n  cert_file: a\n  key_file: b\n  min_version: CANARY\n", "min_version"),
        ("tls_server_config:\n  cert_file: a\n  key_file: b\n  client_auth_type: CANARY\n", "client_auth_type"),
        ("tls_server_config:\n  cert_file: a\n  key_file: b\n  other: CANARY\n", "other"),
    ],
)
@pytest.mark.usefixtures("hashed")
def test_a_configuration_that_would_not_hold_is_refused(text: str, words: str, tmp_path: Path) -> None:
    web = tmp_path / "web.yml"
    web.write_text(text)
    with pytest.raises(WebConfigError, match=words) as caught:
        read_web_config(web)
    assert "CANARY" not in str(caught.value)


def test_the_option_is_the_one_of_other_exporters(hashed: str, tmp_path: Path) -> None:
    web = tmp_path / "web.yml"
    web.write_text(f"basic_auth_users:\n  prometheus: {hashed}\n")
    words = [sys.executable, "-m", "kvtop", "exporter", "--demo", "nothing", "--listen", "127.0.0.1:0"]
    with subprocess.Popen([*words, "--web.config.file", str(web)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        match = re.search(r"http://127.0.0.1:(\d+)", process.stderr.readline())
        assert match is not None
        assert status_of(int(match[1])) == 401
        assert status_of(int(match[1]), Authorization=basic("prometheus", "right")) in {200, 503}
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    web.write_text("basic_auth_users:\n  prometheus: CANARY\n")
    done = subprocess.run([*words, "--web.config.file", str(web)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--web.config.file" in done.stderr
    assert "CANARY" not in done.stderr


def test_the_unit_starts_what_there_is_with_few_rights() -> None:
    unit = (Path(__file__).parents[1] / "docs/systemd/kvtop-exporter.service").read_text(encoding="utf-8")
    lines = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line and not line.startswith("#"))
    words = lines["ExecStart"].split()
    done = subprocess.run([sys.executable, "-m", *["kvtop", *words[1:], "--help"]], capture_output=True, check=False)
    assert done.returncode == 0
    for name in ("NoNewPrivileges", "DynamicUser", "RestrictNamespaces", "ProtectKernelModules", "PrivateTmp"):
        assert lines[name] == "yes"
    assert lines["CapabilityBoundingSet"] == ""
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:
        path = Path(__file__).parents[1] / "docs/systemd/kvtop-exporter.service"
        checked = subprocess.run([analyze, "verify", str(path)], capture_output=True, text=True, check=False)
        assert "Unknown" not in checked.stderr
        assert "Failed to parse" not in checked.stderr
