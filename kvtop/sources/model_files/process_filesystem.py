"""The file system as another process sees it: its root, working directory, environment and home."""

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kvtop.sources.rights.permission_bits import check_readable

_LINK_LIMIT = 40
"""As many symbolic links as Linux follows in one path (MAXSYMLINKS, include/linux/namei.h)."""


class ModelNotFoundError(Exception):
    """No model file where the server's options point. str() says which model, why not, and what was tried."""

    def __init__(self, name: str, reason: str, tried: tuple[str, ...] = ()) -> None:
        super().__init__(f"{name}: {reason}" + (f" (tried {', '.join(tried)})" if tried else ""))
        self.name = name
        self.reason = reason
        self.tried = tried


@dataclass(frozen=True, slots=True)
class ProcessFilesystem:
    """The file system as one process sees it. The default is this machine's root with nothing else known.

    `root` is a path of ours ("/", "/proc/PID/root"); `cwd`, `home` and the values of `environ` are paths of the server.
    `environ` None: it could not be read. `home` stands in where the environment has no HOME (the passwd entry).
    """

    root: str = "/"
    cwd: str | None = None
    environ: Mapping[str, str] | None = field(default_factory=dict)
    home: str | None = None

    def variable(self, name: str) -> str | None:
        """An environment variable of the server; empty counts as unset, as it does for the engines."""
        return (self.environ or {}).get(name) or None

    def home_directory(self) -> str | None:
        """HOME, or the home that the caller knows of."""
        return self.variable("HOME") or self.home

    def absolute(self, path: str) -> str:
        """The server's path, made absolute. ModelNotFoundError for a relative path when the directory is unknown."""
        if path.startswith("/"):
            return path
        if self.cwd is None:
            raise ModelNotFoundError(path, "a relative path, and the server's working directory cannot be read")
        return f"{self.cwd.rstrip('/')}/{path}"

    def ours(self, path: str) -> str:
        """An existing absolute path of the server as a path that we can open. OSError says why there is none.

        Symbolic links are followed inside `root`: opening `root` + path would follow absolute ones from our own root.
        What the server itself could not read is a PermissionError, where kvtop looks for one (`as_process`).
        The name is kept wherever it leads to the same file, because parts of split files are found by name.
        """
        real = self._follow(path)
        named = self._joined(path.strip("/").split("/"))
        try:
            return named if Path(named).samefile(real) else real
        except OSError:
            return real

    def inside(self, path: str) -> str:
        """One of our paths below `root` as the server's own."""
        root = self.root.rstrip("/")
        return path[len(root) :] if root and path.startswith(f"{root}/") else path

    def followed(self, path: str) -> str:
        """One of our paths below `root`, its links followed inside the root; the path itself where it leads nowhere."""
        try:
            return self.ours(self.inside(path))
        except OSError:
            return path

    def target(self, path: str) -> str:
        """Where an absolute path of the server leads, as a path of its own: links are followed as far as they exist.

        It is what the kernel shows for an open file, even after the file was deleted.
        """
        try:
            return "/" + "/".join(self._passed(path, is_whole=False))
        except OSError:
            return path

    def _follow(self, path: str) -> str:
        real = self._joined(self._passed(path, is_whole=True))
        Path(real).stat()  # the root itself may be gone
        check_readable(real)
        return real

    def _passed(self, path: str, *, is_whole: bool) -> list[str]:
        """The names on the way, links followed. `is_whole` False: the way may end at a name that does not exist."""
        ahead = path.split("/")[::-1]
        passed: list[str] = []
        links = 0
        while ahead:
            part = ahead.pop()
            if part in {"", "."}:
                continue
            if part == "..":
                del passed[-1:]
                continue
            here = self._joined([*passed, part])
            try:
                is_link = stat.S_ISLNK(os.lstat(here).st_mode)
            except FileNotFoundError:
                if is_whole:
                    raise
                is_link = False
            if not is_link:
                passed.append(part)
                continue
            links += 1
            if links > _LINK_LIMIT:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), here)
            target = str(Path(here).readlink())
            if target.startswith("/"):
                passed.clear()
            ahead.extend(target.split("/")[::-1])
        return passed

    def _joined(self, parts: list[str]) -> str:
        return f"{self.root.rstrip('/')}/{'/'.join(parts)}"
