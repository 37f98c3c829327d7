"""Where a copied text goes besides the terminal's clipboard, which may refuse it without saying so."""

import os
import subprocess
from collections.abc import Mapping

from kvtop.io.private_directory import private_directory

_TMUX_SECONDS = 1.0


class CopiedText:
    """The last text that was copied: in tmux's buffer where there is a tmux, and in a file of this user's own."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.text = ""
        """To be printed when the dashboard ends; "" while nothing was copied."""
        self._environ = environ

    def keep(self, text: str) -> str:
        """Keep it, and report where: "in tmux's buffer and in /run/user/1000/kvtop/copied.txt"."""
        self.text = text
        places = ["in tmux's buffer"] if self._into_tmux(text) else []
        path = self._into_file(text)
        return " and ".join([*places, *([f"in {path}"] if path else [])])

    def _into_tmux(self, text: str) -> bool:
        if not self._environ.get("TMUX"):
            return False
        try:
            done = subprocess.run(
                ["tmux", "load-buffer", "-"],
                input=text.encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_TMUX_SECONDS,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0

    def _into_file(self, text: str) -> str:
        """The path of the file; "" where it cannot be written, which the other ways outlive."""
        try:
            path = private_directory(self._environ) / "copied.txt"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as stream:
                stream.write(f"{text}\n")
        except OSError:
            return ""
        return str(path)
