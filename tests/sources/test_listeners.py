"""Ports of a process: its own, through its own network namespace; candidates where its descriptors are closed to us."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kvtop.domain.process import Listener
from kvtop.sources.processes.listeners import listeners_of, listening, listening_as
from kvtop.sources.processes.network_namespace import addresses_of, is_routable, shares_network
from tests.sources.network_lab import NetworkLab, network_lab

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ROWS = (  # recorded: 127.0.0.1:8080 and 0.0.0.0:8081 listen, the third is a connection
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 101 1 0 100 0 0 10 0",
    "   1: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 102 1 0 100 0 0 10 0",
    "   2: 0100007F:1F90 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000  1000        0 103 1 0 20 4 30 10 -1",
)
ROW6 = (
    "   0: B80D0120000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 "
    "00:00000000 00000000  1000        0 104 1 0 100 0 0 10 0"
)
LISTEN = """
import socket, sys, time
held = [socket.create_server((host, 0)) for host in sys.argv[1:]]
print(*(it.getsockname()[1] for it in held), flush=True)
time.sleep(60)
"""


@contextmanager
def listening_process(*hosts: str, lab: NetworkLab | None = None) -> Iterator[tuple[int, list[int]]]:
    command = [sys.executable, "-c", LISTEN, *hosts]
    process = subprocess.Popen(lab.command(*command) if lab else command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.pid, [int(word) for word in process.stdout.readline().split()]
    finally:
        process.kill()
        process.communicate()


def test_rows_by_inode_and_by_user() -> None:
    assert listening(ROWS, frozenset({"101", "103"})) == [Listener("127.0.0.1", 8080)]
    assert listening_as(ROWS, 1000) == [Listener("127.0.0.1", 8080)]
    assert listening_as(ROWS, 0) == [Listener("0.0.0.0", 8081)]
    assert listening_as(ROWS, None) == []
    assert listening([ROW6, "", "cut short"], frozenset({"104"})) == [Listener("2001:db8::1", 8080)]


def test_only_its_own_sockets_count() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mine, listening_process("127.0.0.1", "0.0.0.0") as (pid, ports):
        found = listeners_of(pid)
        assert found.is_certain
        assert {(it.address, it.port) for it in found.listeners} == {("127.0.0.1", ports[0]), ("0.0.0.0", ports[1])}
        assert mine.getsockname()[1] not in {it.port for it in found.listeners}


def test_closed_descriptors_leave_candidates(tmp_path: Path) -> None:
    home = tmp_path / "7"
    (home / "net").mkdir(parents=True)
    (home / "net/tcp").write_text(HEADER + "\n".join(ROWS) + "\n")
    found = listeners_of(7, tmp_path, uid=1000)
    assert not found.is_certain
    assert found.listeners == (Listener("127.0.0.1", 8080),)
    assert listeners_of(7, tmp_path).listeners == ()


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user, which only root may")
def test_as_nobody_a_real_process_has_candidates() -> None:
    code = (
        "import os, sys\n"
        "from kvtop.sources.processes.listeners import listeners_of\n"
        "from kvtop.sources.processes.network_namespace import shares_network\n"
        "listeners_of(os.getpid())  # every module is loaded while it may be read\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "found = listeners_of(int(sys.argv[1]), uid=0)\n"
        "print(found.is_certain, sorted(it.port for it in found.listeners), shares_network(int(sys.argv[1])))\n"
    )
    with network_lab() as lab, listening_process("0.0.0.0", lab=lab) as (pid, ports):
        done = subprocess.run([sys.executable, "-c", code, str(pid)], capture_output=True, text=True, check=True)
    assert done.stdout == f"False {ports} False\n"


def test_a_process_in_another_namespace() -> None:
    with network_lab() as lab, listening_process("0.0.0.0", "127.0.0.1", lab=lab) as (pid, ports):
        assert shares_network(pid) is False
        assert shares_network(os.getpid()) is True
        assert addresses_of(pid) == (lab.inside,)
        assert lab.inside not in addresses_of(os.getpid())
        assert {it.port for it in listeners_of(pid).listeners} == set(ports)
        assert is_routable(lab.inside)
        with socket.create_connection((lab.inside, ports[0]), timeout=5):
            pass


def test_a_process_that_is_gone() -> None:
    with listening_process("127.0.0.1") as (pid, _):
        pass
    assert shares_network(pid) is None
    assert listeners_of(pid, uid=0).listeners == ()
    assert addresses_of(pid) == ()


ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
tun0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0
wg0\t0000640A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
down0\t0000C80A\t00000000\t0000\t0\t0\t0\t0000FFFF\t0\t0\t0
"""


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    net = tmp_path / "proc/self/net"
    net.mkdir(parents=True)
    (net / "route").write_text(ROUTES)
    (net / "ipv6_route").write_text(
        "fd00000000000000000000000000aa00 78 " + "0" * 32 + " 00 " + "0" * 32 + " 00000100 1 0 00000001  docker0\n"
        + "0" * 32 + " 00 " + "0" * 32 + " 00 fe800000000000000000000000000001 00000400 1 0 00000003     eth0\n"
    )  # fmt: skip
    interfaces = tmp_path / "class"
    interfaces.mkdir()
    for name, kind, place in (
        ("eth0", "1", "pci0000:00/net"),
        ("docker0", "1", "virtual/net"),
        ("tun0", "65534", "virtual/net"),
        ("wg0", "65534", "virtual/net"),
    ):
        home = tmp_path / "devices" / place / name
        home.mkdir(parents=True)
        (home / "type").write_text(f"{kind}\n")
        (interfaces / name).symlink_to(home)
    return tmp_path / "proc", interfaces


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("172.17.0.2", True),  # Docker's bridge
        ("192.168.1.9", False),  # the default route: somebody else's machine
        ("10.0.2.100", False),  # a rootless container; here the VPN would carry it away
        ("10.100.0.7", False),  # WireGuard
        ("10.200.0.1", False),  # its route is down, so the VPN's is the longest
        ("fd00::aa02", True),
        ("2001:db8::1", False),
    ],
)
def test_only_virtual_ethernets_lead_to_containers(tables: tuple[Path, Path], address: str, *, expected: bool) -> None:
    assert is_routable(address, *tables) is expected


def test_a_tap_is_a_tunnel_too(tables: tuple[Path, Path]) -> None:
    (tables[1] / "docker0/tun_flags").write_text("0x1002\n")
    assert not is_routable("172.17.0.2", *tables)
