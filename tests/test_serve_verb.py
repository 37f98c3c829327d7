"""`kvtop serve` as a process: who is let in, and the dashboard behind it in a real browser."""

import argparse
import asyncio
import base64
import ipaddress
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import aiohttp
import pytest

from kvtop.app.authenticated_server import TABS_MOST, is_loopback, reachable_host
from kvtop.cli import main
from kvtop.verbs import serve
from kvtop.verbs.serve import dashboard_command
from tests.serving import admitted, door_of, drawn_in_a_tab, serving

WAITING_TABS = (sys.executable, "-m", "tests.waiting_tabs")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def status_of(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def browser() -> urllib.request.OpenerDirector:
    """What keeps cookies."""
    return urllib.request.build_opener(urllib.request.HTTPCookieProcessor())


def test_loopback_lets_this_machine_in_and_nobody_else() -> None:
    with serving() as (url, _):
        assert url.startswith("http://127.0.0.1:")
        jar = browser()
        with jar.open(url, timeout=60) as answer:
            assert (answer.status, answer.url) == (200, door_of(url))
        for foreign in ({"Host": "evil.example:80"}, {"Origin": "http://evil.example"}):
            with pytest.raises(urllib.error.HTTPError, match="403") as refused:
                jar.open(urllib.request.Request(door_of(url), headers=foreign), timeout=60)
            refused.value.close()


async def test_other_users_of_this_machine_need_the_token_too() -> None:
    """Any local process could drive the dashboard as the user who serves it."""
    with serving() as (url, said):
        assert "not encrypted" not in said
        for address in (door_of(url), f"{door_of(url)}static/js/textual.js", f"{door_of(url)}page/page.js"):
            assert status_of(address) == 403
        assert status_of(f"{door_of(url)}?token=") == 403
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await session.ws_connect(f"{door_of(url)}ws")
        async with admitted(url) as session:
            (cookie,) = session.cookie_jar
            assert cookie["httponly"]
            assert cookie["samesite"] == "Strict"
            assert url.split("token=")[1] not in cookie.value, "the cookie is not the token"


def test_root_serves_only_when_told_to() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root is refused")
    command = [sys.executable, "-m", "kvtop", "serve", "--demo"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--allow-root" in done.stderr


async def test_a_tab_writes_no_files(tmp_path: Path) -> None:
    with serving(kvtop=[sys.executable, "-P", "-m", "kvtop"], cwd=tmp_path) as (url, _):
        drawn = await drawn_in_a_tab(url, b"writes no files", keys="S")
        assert b"writes no files" in drawn
    assert list(tmp_path.iterdir()) == []


RESOURCE = re.compile(
    r"""(?:src|href|action|data-[a-z-]+-url)\s*=\s*["']([^"']*)|url\(\s*["']?([^"')]*)|@import\s+["']([^"']*)"""
)
SCRIPTED = re.compile(rb"""["'`](?:https?:)?//[a-zA-Z0-9.-]+""")


def loaded(url: str, seen: dict[str, str], jar: urllib.request.OpenerDirector) -> None:
    """Fetch a page or a stylesheet and everything it names, by address, each with what it said."""
    if url in seen:
        return
    with jar.open(url, timeout=60) as answer:
        content = answer.read()
        policy, frame = answer.headers["Content-Security-Policy"], answer.headers["X-Frame-Options"]
    assert ("frame-ancestors 'none'" in policy, frame) == (True, "DENY"), url
    assert "http" not in policy.replace(f"ws://{urlsplit(url).netloc}", "")
    seen[url] = content.decode("utf-8", "replace") if urlsplit(url).path.endswith(("/", ".css", ".html")) else ""
    for found in RESOURCE.finditer(seen[url]):
        named = urljoin(url, next(group for group in found.groups() if group is not None))
        scheme, host = urlsplit(named)[:2]
        if scheme in {"http", "https", "ws", "wss"}:
            assert host == urlsplit(url).netloc, f"{url} loads {named}"
        if scheme in {"http", "https"}:
            loaded(named, seen, jar)


def test_nothing_is_loaded_from_anywhere_else() -> None:
    with serving() as (url, _):
        seen: dict[str, str] = {}
        jar = browser()
        jar.open(url, timeout=60).close()
        loaded(door_of(url), seen, jar)
        names = {urlsplit(it).path for it in seen}
        assert {"/", "/page/page.css", "/page/page.js", "/static/js/textual.js", "/static/css/xterm.css"} <= names
        assert any(name.endswith(".ttf") for name in names), "the page has its own font"
        with jar.open(f"{door_of(url)}static/js/textual.js", timeout=60) as answer:
            elsewhere = {it.decode() for it in SCRIPTED.findall(answer.read())}
        assert not {it for it in elsewhere if "www.w3.org" not in it}, "a namespace is a name, not an address"


def test_code_in_the_current_folder_is_never_run(tmp_path: Path) -> None:
    """The review planted a package `kvtop` where root started `kvtop serve`."""
    (tmp_path / "kvtop").mkdir()
    (tmp_path / "kvtop/__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').write('x')\n", encoding="utf-8")
    (tmp_path / "kvtop/__main__.py").write_text("", encoding="utf-8")
    args = argparse.Namespace(url=[], no_discover=False, demo="", interval=None, config=None, theme=None)
    args.prometheus, args.color = None, "auto"
    command = f"{dashboard_command(args)} --version"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("kvtop ")
    assert not (tmp_path / "ran").exists()


def test_a_tab_watches_what_was_asked_for(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    words = ["--prometheus", "http://127.0.0.1:9", "--url", "http://a:1", "--no-discover", "--interval", "2"]
    args = parser.parse_args([*words, "--config", str(tmp_path), "--theme", "dark"])
    args.color = "auto"
    command = dashboard_command(args)
    for word in (
        "--prometheus=http://127.0.0.1:9",
        "--url http://a:1",
        "--no-discover",
        "--interval=2.0",
        "--theme=dark",
    ):
        assert word in command


@pytest.mark.parametrize(
    "words",
    [["--theme", "nosuch"], ["--prometheus", "nonsense"], ["--port", "80800"], ["--url", "nonsense"]],
    ids=" ".join,
)
def test_bad_options_are_refused_before_anything_listens(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *words]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"kvtop: {words[0]}")
    assert (said.err.count("\n"), said.out) == (1, "")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_the_printed_address_of_every_address_can_be_opened(host: str) -> None:
    found = reachable_host(host)
    assert found not in {"0.0.0.0", "::"}
    assert found == socket.gethostname() or not ipaddress.ip_address(found).is_unspecified
    assert reachable_host("192.168.1.5") == "192.168.1.5"


async def test_tabs_have_an_end() -> None:
    with serving(kvtop=WAITING_TABS) as (url, _):
        address = f"{door_of(url)}ws"
        async with admitted(url) as session, AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(session.ws_connect(address)) for _ in range(TABS_MOST)]
            assert len(opened) == TABS_MOST
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                await session.ws_connect(address)


async def test_nonsense_from_a_browser_is_no_traceback(tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    with serving(errors=errors, kvtop=WAITING_TABS, XDG_STATE_HOME=str(tmp_path)) as (url, _):
        async with admitted(url) as session:
            for nonsense in ("no json", "{}", "[]", '["resize", 1]', '["stdin", 1]'):
                async with session.ws_connect(f"{door_of(url)}ws") as tab:
                    await tab.send_str(nonsense)
                    await asyncio.sleep(0.2)
            async with session.get(door_of(url)) as answer:
                assert answer.status == 200
    said = errors.read_text(encoding="utf-8")
    assert "Traceback" not in said
    assert said.count("\n") < 10, said


def test_any_other_address_says_that_nothing_is_encrypted() -> None:
    with serving("--host", "0.0.0.0") as (url, said):
        assert "not encrypted" in said
        address, token = url.split("?token=")
        assert urlsplit(address).hostname == reachable_host("0.0.0.0").lower()
        door = f"http://127.0.0.1:{urlsplit(address).port}/"
        assert len(token) >= 24
        assert status_of(door) == 403
        assert status_of(f"{door}?token=guess") == 403
        assert status_of(f"{door}static/js/textual.js") == 403
        with browser().open(f"{door}?token={token}", timeout=60) as answer:
            assert answer.status == 200
            assert "token" not in answer.url


def test_a_token_of_ones_own_is_never_made_up_nor_given_as_a_flag() -> None:
    with serving(KVTOP_SERVE_TOKEN="mine") as (url, _):
        door = url.split("?")[0]
        assert status_of(door) == 403
        assert url.endswith("?token=mine")
    shown = subprocess.run(
        [sys.executable, "-m", "kvtop", "serve", "--help"], capture_output=True, text=True, check=True
    )
    assert "--token" not in shown.stdout


async def test_a_tab_gets_the_dashboard() -> None:
    with serving() as (url, _):
        drawn = await drawn_in_a_tab(url, b"KV reserved")
        assert b"KV reserved" in drawn
        assert b"gemma" in drawn


async def test_a_real_browser_shows_it(tmp_path: Path) -> None:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser here (looked for {', '.join(BROWSERS)})")
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--remote-debugging-port=0", "--window-size=1200,700"]
    picture = b""
    with serving() as (url, _), subprocess.Popen([*command, url], stderr=subprocess.DEVNULL) as process:
        try:
            picture = await picture_of_page(tmp_path / "profile" / "DevToolsActivePort", url)
        finally:
            process.terminate()
    (tmp_path / "kvtop.png").write_bytes(picture)
    # The splash before the first frame takes 9 kB, the dashboard 60 kB and more.
    assert len(picture) > 30_000


async def picture_of_page(port_file: Path, url: str) -> bytes:
    """A PNG of the page once it is more than the splash, by Chromium's own protocol; the last one after two minutes."""
    end = time.monotonic() + 120
    while not port_file.exists() and time.monotonic() < end:
        await asyncio.sleep(0.1)
    port = port_file.read_text().split()[0]
    picture = b""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json") as answer:
            pages = await answer.json(content_type=None)
        page = next(it for it in pages if it["type"] == "page" and it["url"].startswith(door_of(url)))
        async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as tab:
            while len(picture) <= 30_000 and time.monotonic() < end:
                await asyncio.sleep(1)
                await tab.send_json({"id": 1, "method": "Page.captureScreenshot"})
                while (message := await tab.receive_json()).get("id") != 1:
                    pass
                picture = base64.b64decode(message["result"]["data"])
    return picture


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("[::1]", True), ("localhost", True)]
    + [("0.0.0.0", False), ("::", False), ("192.168.1.5", False), ("localhost.evil.example", False), ("", False)],
)
def test_what_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
