"""The system around kvtop, for bug reports: what a maintainer asks first. No name of a host or a person is among it."""

import locale
import platform
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("textual", "nvidia-ml-py", "psutil", "pydantic", "httpx2", "msgspec", "zstandard", "plotext")
_TERMINAL = ("TERM", "COLORTERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "WT_SESSION", "TMUX", "STY", "SSH_TTY")
_PRESENT_ONLY = frozenset({"WT_SESSION", "TMUX", "STY", "SSH_TTY"})
"""Of these only whether they are set is told: their values name sessions and devices."""
_CHOICES = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "LANG", "LC_ALL", "LC_CTYPE", "COLUMNS", "LINES")


def system_facts(environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """(what, value), for people. "absent" is a library that is not installed."""
    size = shutil.get_terminal_size(fallback=(0, 0))
    return (
        ("system", _system()),
        ("kernel", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("C library", " ".join(platform.libc_ver()).strip() or "unknown"),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        *((name, _installed(name)) for name in LIBRARIES),
        ("terminal", ", ".join(_shown(name, environ[name]) for name in _TERMINAL if environ.get(name)) or "none"),
        ("terminal size", f"{size.columns}x{size.lines}" if size.columns else "unknown"),
        ("variables", ", ".join(f"{name}={environ[name]}" for name in _CHOICES if environ.get(name)) or "none"),
        ("encoding", f"{sys.stdout.encoding}, {locale.getpreferredencoding(do_setlocale=False)}"),
    )


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return f"{platform.system()} {platform.mac_ver()[0] or platform.version()}".strip()


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _shown(name: str, value: str) -> str:
    return f"in {name}" if name in _PRESENT_ONLY else f"{name}={value}"
