"""Whoever ends kvtop in the middle of a picture, the terminal is restored: a driver that aborts, a kill, no memory.

Nothing in a process can answer for its own abrupt end. A small shell waits for it: kvtop tells it when it leaves by
itself, and where a pipe closes without that word, the shell writes what a terminal needs and sets its line modes back.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_RESTORE = "".join(
    (
        *("\x1b[?1000l", "\x1b[?1002l", "\x1b[?1003l", "\x1b[?1006l", "\x1b[?1015l"),  # mouse
        *("\x1b[?1004l", "\x1b[?2004l", "\x1b[?2026l", "\x1b[<u"),  # focus, paste, updates in one go, keys
        *("\x1b[?1049l", "\x1b[?25h", "\x1b[0m"),  # the other screen, the cursor, colours
    )
)
_WAIT = """\
trap '' HUP INT TERM QUIT TSTP TTOU
read -r word
if [ "$word" != left ]; then
  printf '%s' "$1" >&2
  stty "$2" <&2 2>/dev/null
  printf 'kvtop: ended abruptly, inside a driver or by a kill; the terminal is as it was\\r\\n' >&2
fi
"""


@contextmanager
def guarded_terminal() -> Iterator[None]:
    """While this runs, an abrupt end of kvtop leaves a usable terminal. Nothing where there is none, or no shell."""
    guard = _guard()
    try:
        yield
    finally:
        if guard is not None and guard.stdin is not None:
            with suppress(OSError):
                guard.stdin.write(b"left\n")
                guard.stdin.close()
            guard.wait()


def _guard() -> "subprocess.Popen[bytes] | None":
    shell, stty = shutil.which("sh"), shutil.which("stty")
    if shell is None or stty is None or not sys.stderr.isatty():
        return None
    try:
        modes = subprocess.run([stty, "-g"], stdin=sys.stderr, capture_output=True, check=True).stdout.decode().strip()
        command = [shell, "-c", _WAIT, "kvtop-guard", _RESTORE, modes]
        # A session of its own: keys that signal kvtop must not end it.
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0, start_new_session=True, cwd="/"
        )
    except (OSError, subprocess.SubprocessError):
        return None
