"""Installs mlx-lm 0.32.2 with MLX's CPU build in an environment of its own, and makes a tiny model for it. Once.

0.6 GB; half a minute to 3 minutes, by the network.
"""

import subprocess
import time
import venv
from collections.abc import Callable
from pathlib import Path

VERSION = "0.32.2"
PACKAGES = (f"mlx-lm=={VERSION}", "mlx[cpu]==0.32.4")
MODEL_NAME = "tiny-llama-mlx"


def home_of(cache: Path) -> Path:
    """The environment under `cache`."""
    return cache / f"mlx-lm-{VERSION}"


def mlx_model_of(cache: Path) -> Path:
    """The directory of the tiny model under `cache`."""
    return cache / "models" / MODEL_NAME


def install_mlx(cache: Path, say: Callable[[str], None]) -> None:
    """Install what is missing; quick when everything is there. Raises SystemExit with the last words of what failed."""
    home = home_of(cache)
    python, done = home / "bin" / "python", home / "ready"
    if not done.exists():
        say(f"installing {' and '.join(PACKAGES)} (0.6 GB, up to 3 minutes, once)")
        venv.create(home, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
        _shown([*pip, *PACKAGES], say)
        done.touch()
    model = mlx_model_of(cache)
    if not (model / "tokenizer_config.json").exists():
        say(f"making the model {MODEL_NAME}")
        _shown([str(python), str(Path(__file__).with_name("mlx_model.py")), str(model)], say)


def _shown(command: list[str], say: Callable[[str], None]) -> None:
    """Run a command; a line of its output every 10 seconds, and the last ones where it fails."""
    lines: list[str] = []
    shown = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            if time.monotonic() - shown > 10:
                shown = time.monotonic()
                say(lines[-1][:110])
    if process.returncode:
        raise SystemExit("\n".join([f"failed: {' '.join(command)}", *lines[-20:]]))
