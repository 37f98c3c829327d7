"""The container of a process, from its control group; its name from what the runtimes leave readable.

No runtime's socket is asked: reading it would need the rights of root.

Paths as the runtimes make them, under cgroup v1 and v2: docker-ID.scope and /docker/ID, libpod-ID.scope,
cri-containerd-ID.scope, crio-ID.scope, nerdctl-ID.scope, /kubepods/…/podUID/ID, /lxc/NAME, lxc.payload.NAME,
machine-NAME.scope.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

from kvtop.domain.model_file import ModelFileError
from kvtop.domain.process import Container
from kvtop.sources.model_files.process_filesystem import ProcessFilesystem
from kvtop.sources.model_files.regular_file import open_regular
from kvtop.sources.redaction.redact import clean
from kvtop.sources.rights.reading import read_as

_ID = "[0-9a-f]{64}"
_PATTERNS = tuple(
    (runtime, re.compile(pattern))
    for runtime, pattern in (
        ("docker", rf"docker-({_ID})\.scope|/docker/({_ID})"),
        ("podman", rf"/libpod-({_ID})(?:\.scope|/|$)"),
        ("containerd", rf"(?:cri-containerd|nerdctl|containerd)[-:]({_ID})(?:\.scope|$)"),
        ("cri-o", rf"crio-({_ID})(?:\.scope|/|$)"),
        ("kubernetes", rf"kubepods.*pod[0-9a-f_-]{{32,36}}(?:\.slice)?/({_ID})"),
        ("lxc", r"/lxc(?:\.payload)?[/.]([^/]+)"),
        ("nspawn", r"/machine\.slice/machine-(.+)\.scope|systemd-nspawn@([^/]+)\.service"),
    )
)
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?", re.ASCII)
_CONFIG_BYTES = 4 << 20


def container_in(cgroups: str) -> Container | None:
    """The container that /proc/PID/cgroup names, without its name; None on the bare host.

    Of nested ones (Kubernetes in Docker) the innermost, which is the last in the path.
    """
    found: tuple[int, Container] | None = None
    for line in cgroups.splitlines():
        path = line.split(":", 2)[-1]
        for runtime, pattern in _PATTERNS:
            for match in pattern.finditer(path):
                name = next(group for group in match.groups() if group)
                if found is None or match.start() > found[0]:
                    found = (match.start(), Container(runtime, clean(name)))
    if found is None:
        return None
    container = found[1]
    return replace(container, name=container.id) if container.runtime in {"lxc", "nspawn"} else container


def container_of(pid: int, proc: Path = Path("/proc"), host: Path = Path("/")) -> Container | None:
    """The container of a process, named where anything readable names it. `host` is the root of this machine."""
    try:
        text = (proc / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    container = container_in(text)
    if container is None or container.name is not None:
        return container
    name = _kubernetes_name(container.id, host) or _docker_name(container.id, host) or _podman_name(container.id, host)
    name = name or _hostname(pid, container.id, proc, host)
    return replace(container, name=None if name is None else clean(name))


def _kubernetes_name(container_id: str, host: Path) -> str | None:
    """/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log, links that the kubelet makes for everybody."""
    try:
        match = next((host / "var/log/containers").glob(f"*-{container_id}.log"), None)
    except OSError:
        return None
    if match is None:
        return None
    pod, _, rest = match.name.removesuffix(f"-{container_id}.log").partition("_")
    namespace, _, container = rest.partition("_")
    return f"{namespace}/{pod}/{container}"


def _docker_name(container_id: str, host: Path) -> str | None:
    """The daemon's own record, for root only."""
    record = _json(host / "var/lib/docker/containers" / container_id / "config.v2.json")
    name = record.get("Name") if isinstance(record, dict) else None
    return name.lstrip("/") if isinstance(name, str) and name else None


def _podman_name(container_id: str, host: Path) -> str | None:
    """The storage's list: the system's, or this user's own."""
    below = "containers/storage/overlay-containers/containers.json"
    for path in (host / "var/lib" / below, Path.home() / ".local/share" / below):
        rows = _json(path)
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and row.get("id") == container_id:
                names = row.get("names")
                if isinstance(names, list) and names and isinstance(names[0], str):
                    return names[0]
    return None


def _hostname(pid: int, container_id: str, proc: Path, host: Path) -> str | None:
    """Its host name, where somebody gave one: by default it is the start of the id, or this host's own."""
    root = proc / str(pid) / "root"
    try:
        name = read_as(pid, "host name", lambda: _line(root, "/etc/hostname"), proc)
    except OSError:
        return None
    is_given = bool(name) and not container_id.startswith(name) and name != _line(host, "/etc/hostname")
    return name if is_given else None


def _line(root: Path, path: str) -> str:
    """A host name out of a file; "" for anything else. Links are followed inside `root` and never from our own.

    What lies there is the container's to choose: a link to a file of this machine, a pipe that nobody writes to.
    """
    try:
        with open_regular(ProcessFilesystem(str(root)).ours(path)) as (file, _):
            text = file.read(256).decode("utf-8", "replace").strip()
    except (OSError, ModelFileError):
        return ""
    return text if _HOST_NAME.fullmatch(text) is not None else ""


def _json(path: Path) -> object:
    try:
        with path.open("rb") as file:
            value: object = json.loads(file.read(_CONFIG_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return value
