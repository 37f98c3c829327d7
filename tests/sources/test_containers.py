"""Containers by control group: the paths that runtimes make, and where the names come from."""

import json
import os
from pathlib import Path

import pytest

from kvtop.domain.process import Container
from kvtop.sources.processes.containers import container_in, container_of

ID = "3f2a1b4c5d6e7f80" * 4
OTHER = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("cgroups", "runtime"),
    [
        (f"0::/system.slice/docker-{ID}.scope", "docker"),
        (f"12:memory:/docker/{ID}\n0::/docker/{ID}", "docker"),
        (f"0::/../../docker-{ID}.scope/init", "docker"),
        (f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container", "podman"),
        (f"0::/machine.slice/libpod-{ID}.scope", "podman"),
        (f"0::/kubepods.slice/kubepods-besteffort.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", "containerd"),
        (f"0::/system.slice/nerdctl-{ID}.scope", "containerd"),
        (f"0::/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}", "containerd"),
        (f"0::/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope", "cri-o"),
        (f"11:cpu:/kubepods/burstable/pod0b5a9f6e-8a4c-4e2a-9d4e-2f1a3b4c5d6e/{ID}", "kubernetes"),
    ],
)
def test_the_id_and_the_runtime(cgroups: str, runtime: str) -> None:
    assert container_in(cgroups) == Container(runtime, ID)


@pytest.mark.parametrize(
    ("cgroups", "expected"),
    [
        ("0::/lxc/web01", Container("lxc", "web01", "web01")),
        ("0::/lxc.payload.web01/system.slice/x.service", Container("lxc", "web01", "web01")),
        ("4:memory:/lxc.payload/web01", Container("lxc", "web01", "web01")),
        ("0::/machine.slice/machine-deb.scope/payload", Container("nspawn", "deb", "deb")),
        ("0::/", None),
        ("0::/user.slice/user-1000.slice/session-2.scope", None),
        ("0::/system.slice/docker.service", None),
        ("0::/system.slice/llama-server.service", None),
        (f"0::/machine.slice/libpod-conmon-{ID}.scope", None),
        ("", None),
    ],
)
def test_names_that_are_ids_and_hosts_that_are_no_containers(cgroups: str, expected: Container | None) -> None:
    assert container_in(cgroups) == expected


def test_of_nested_containers_the_innermost_counts() -> None:
    cgroups = f"0::/docker/{OTHER}/kubelet/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"
    assert container_in(cgroups) == Container("containerd", ID)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    home = tmp_path / "proc/7"
    (home / "root/etc").mkdir(parents=True)
    (home / "cgroup").write_text(f"0::/system.slice/docker-{ID}.scope\n")
    (home / "root/etc/hostname").write_text(f"{ID[:12]}\n")
    (tmp_path / "host/etc").mkdir(parents=True)
    (tmp_path / "host/etc/hostname").write_text("node1\n")
    return tmp_path / "proc"


def test_a_host_name_that_is_the_id_is_no_name(proc: Path) -> None:
    assert container_of(7, proc, proc.parent / "host") == Container("docker", ID)
    assert Container("docker", ID).label == f"docker {ID[:12]}"


def test_a_given_host_name_is_one(proc: Path) -> None:
    (proc / "7/root/etc/hostname").write_text("inference\n")
    found = container_of(7, proc, proc.parent / "host")
    assert found is not None
    assert found.label == "docker inference"


def test_the_hosts_own_name_is_none(proc: Path) -> None:
    (proc / "7/root/etc/hostname").write_text("node1\n")
    assert container_of(7, proc, proc.parent / "host") == Container("docker", ID)


def test_docker_podman_and_kubernetes_records(proc: Path) -> None:
    host = proc.parent / "host"
    docker = host / "var/lib/docker/containers" / ID
    docker.mkdir(parents=True)
    (docker / "config.v2.json").write_text(json.dumps({"Name": "/web\x1b[31m"}))
    found = container_of(7, proc, host)
    assert found is not None
    assert found.name == "web\ufffd[31m"

    podman = host / "var/lib/containers/storage/overlay-containers"
    podman.mkdir(parents=True)
    (podman / "containers.json").write_text(json.dumps([{"id": OTHER, "names": ["x"]}, {"id": ID, "names": ["db"]}]))
    (proc / "7/cgroup").write_text(f"0::/machine.slice/libpod-{ID}.scope\n")
    (docker / "config.v2.json").write_text("{cut short")
    found = container_of(7, proc, host)
    assert found is not None
    assert found.label == "podman db"

    logs = host / "var/log/containers"
    logs.mkdir(parents=True)
    (logs / f"llama-0_models_server-{ID}.log").symlink_to("/var/log/pods/gone")
    found = container_of(7, proc, host)
    assert found is not None
    assert found.name == "models/llama-0/server"


def test_a_process_that_is_gone_has_no_container(tmp_path: Path) -> None:
    assert container_of(8, tmp_path, tmp_path) is None


@pytest.mark.parametrize("planted", ["link", "relative link", "pipe", "directory", "words", "long"])
def test_a_container_cannot_have_a_file_of_the_host_published(planted: str, proc: Path) -> None:
    """Its /etc/hostname as a link to a file that only root may read, or a pipe that nobody writes to."""
    secret = proc.parent / "shadow"
    secret.write_text("CANARY\n")
    named = proc / "7/root/etc/hostname"
    named.unlink()
    if planted == "link":
        named.symlink_to(secret)
    elif planted == "relative link":
        named.symlink_to("../../../../shadow")
    elif planted == "pipe":
        os.mkfifo(named)
    elif planted == "directory":
        named.mkdir()
    else:
        named.write_text("root:$6$CANARY:19000:0:99999\n" if planted == "words" else "CANARY" * 100)
    found = container_of(7, proc, proc.parent / "host")
    assert found == Container("docker", ID)


def test_a_link_within_the_container_is_followed(proc: Path) -> None:
    named = proc / "7/root/etc/hostname"
    named.unlink()
    named.symlink_to("/run/hostname")
    (proc / "7/root/run").mkdir()
    (proc / "7/root/run/hostname").write_text("inference\n")
    found = container_of(7, proc, proc.parent / "host")
    assert found is not None
    assert found.name == "inference"
