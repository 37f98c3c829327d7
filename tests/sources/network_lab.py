"""Real network namespaces for tests, where this machine lets us make them."""

import contextlib
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class NetworkLab:
    """A namespace joined to this one by a pair of virtual Ethernets, like a container on a bridge."""

    name: str
    inside: str
    outside: str

    def command(self, *words: str) -> list[str]:
        """These words, run inside it by the same process id (`ip netns exec` replaces itself)."""
        return ["ip", "netns", "exec", self.name, *words]


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"network namespaces are not permitted here: ip {' '.join(words)}: {done.stderr.strip()}")


@contextlib.contextmanager
def network_lab() -> Iterator[NetworkLab]:
    """Skips with the reason where namespaces may not be made. 198.18.0.0/15 is reserved for tests (RFC 2544)."""
    if shutil.which("ip") is None:
        pytest.skip("network namespaces need the command ip (iproute2)")
    word = uuid.uuid4().hex
    name, third = f"kvtop-{word[:8]}", int(word[8:10], 16)
    lab = NetworkLab(name, f"198.18.{third}.2", f"198.18.{third}.1")
    _ip("netns", "add", name)
    try:
        near, far = f"kv{word[:6]}a", f"kv{word[:6]}b"
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        _ip("addr", "add", f"{lab.outside}/24", "dev", near)
        _ip("link", "set", near, "up")
        _ip("-n", name, "addr", "add", f"{lab.inside}/24", "dev", far)
        _ip("-n", name, "link", "set", far, "up")
        _ip("-n", name, "link", "set", "lo", "up")
        yield lab
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
