"""Installs mlx-lm 0.32.2 with MLX's CPU build in an environment of its own, and makes a tiny model for it. Once.

0.6 GB; half a minute to 3 minutes, by the network.
"""

from pathlib import Path

from tests.engines import shown

VERSION = "0.32.2"
PACKAGES = (f"mlx-lm=={VERSION}", "mlx[cpu]==0.32.4")
MODEL_NAME = "tiny-llama-mlx"


def home_of(cache: Path) -> Path:
    """The environment under `cache`."""
    return cache / f"mlx-lm-{VERSION}"


def mlx_model_of(cache: Path) -> Path:
    """The directory of the tiny model under `cache`."""
    return cache / "models" / MODEL_NAME


def install_mlx(cache: Path) -> None:
    """Install what is missing; quick when everything is there. Raises SystemExit with what failed."""
    home = home_of(cache)
    done = home / "ready"
    python = home / "bin" / "python"
    if not done.exists():
        shown.need_room(cache, 2.0)
        shown.say(f"installing {' and '.join(PACKAGES)} (0.6 GB, up to 3 minutes, once)")
        python = shown.environment_at(home)
        shown.run("installing mlx-lm", [*shown.pip(python, "install"), *PACKAGES], grows=home)
        done.touch()
    model = mlx_model_of(cache)
    if not (model / "tokenizer_config.json").exists():
        shown.say(f"making the model {MODEL_NAME}")
        shown.run("making the model", [str(python), str(Path(__file__).with_name("mlx_model.py")), str(model)])
