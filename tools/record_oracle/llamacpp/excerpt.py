"""Cut out of a llama.cpp source tree the functions of ggml-cuda that decide about memory.

The stand-in card answers with the engine's own rules: how large a tensor is on a card, which operation a card runs,
which operation is offloaded, which attention kernel is chosen. They are ordinary C++, though they stand between CUDA
kernels that only nvcc compiles. This module finds them by name, with everything they refer to, and writes them in one
file that any C++ compiler takes. Nothing of the engine is kept in this repository, and another build's rules need no
transcription.
"""

import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOTS = (
    "ggml_backend_cuda_buffer_type_get_alignment",
    "ggml_backend_cuda_buffer_type_get_alloc_size",
    "ggml_backend_cuda_buffer_type_get_name",
    "ggml_backend_cuda_device_offload_op",
    "ggml_backend_cuda_device_supports_buft",
    "ggml_backend_cuda_device_supports_op",
    "ggml_backend_cuda_graph_optimize",
    "ggml_backend_cuda_host_buffer_type_name",
    "ggml_cuda_device_info",
)
"""What card.cpp asks."""

SUPPLIED = frozenset(
    {
        "ggml_backend_cuda_context",
        "ggml_cuda_error",
        "ggml_cuda_flash_attn_ext_vec_case",
        "ggml_cuda_highest_compiled_arch",
        "ggml_cuda_info",
        "ggml_cuda_set_device",
        "ggml_cuda_stream_context",
    }
)
"""What prelude.h defines in the engine's place: all of it is about a running card, and none about memory."""

_MACROS = ("CUDART_VERSION=12080", "GGML_USE_CUDA")
"""A build with a current toolkit: ggml-cuda has its CUB sorts then."""

_MARK = "struct kvtop_file_mark_"
_NOT_A_NAME = frozenset(
    {"__launch_bounds__", "__align__", "alignas", "decltype", "noexcept", "__attribute__", "defined"}
)
_WORD = re.compile(r"[A-Za-z_]\w*")
_CALL = re.compile(r"([A-Za-z_]\w*)\s*(?:<[^()]*>)?\s*\(")
_TYPE = re.compile(r"\b(?:struct|class|union|enum(?:\s+(?:class|struct))?)\s+([A-Za-z_]\w*)")


class ExcerptError(Exception):
    """A function that the recorder needs is not in this source tree."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """One top-level declaration or definition."""

    place: int
    file: str
    text: str


def excerpt(tree: Path, defines: Iterable[str]) -> str:
    """The rules as one C++ text, in the order of the sources.

    `tree` is an unpacked llama.cpp; `defines` are the engine's build-time choices as NAME=VALUE. Raises ExcerptError
    where one of ROOTS is not there.
    """
    pieces = list(_pieces(_preprocessed(tree, defines)))
    index: dict[str, list[_Piece]] = {}
    for piece in pieces:
        for name in _names(piece.text):
            index.setdefault(name, []).append(piece)
    wanted: dict[int, _Piece] = {}
    rows = [("", name) for name in ROOTS]
    seen = set(rows)
    while rows:
        file, name = rows.pop()
        found = _nearest(index.get(name, []), file)
        if not found and name in ROOTS:
            raise ExcerptError(f"{tree}: ggml-cuda has no {name}; the recorder's ROOTS do not suit this build")
        for piece in found:
            if piece.place in wanted:
                continue
            wanted[piece.place] = piece
            fresh = {(piece.file, word) for word in _WORD.findall(piece.text) if word in index} - seen
            seen |= fresh
            rows += sorted(pair for pair in fresh if pair[1] not in SUPPLIED)
    return "\n\n".join(piece.text for _, piece in sorted(wanted.items())) + "\n"


def _nearest(pieces: list[_Piece], file: str) -> list[_Piece]:
    """The pieces of one file: static functions of two files may share a name. The own file comes first."""
    own = [piece for piece in pieces if piece.file == file]
    headers = [piece for piece in pieces if piece.file.endswith(".cuh")]
    bodies = [piece for piece in pieces if piece.text.rstrip().endswith("}")]
    if own and (not bodies or any(piece in own for piece in bodies)):
        return own
    if bodies and bodies[0].file not in {piece.file for piece in headers}:
        return headers + [piece for piece in pieces if piece.file == bodies[0].file]
    return headers or pieces[:1]


def _preprocessed(tree: Path, defines: Iterable[str]) -> str:
    folder = tree / "ggml" / "src" / "ggml-cuda"
    headers = sorted(folder.glob("*.cuh"), key=lambda path: (path.name != "common.cuh", path.name))
    sources = sorted(folder.glob("*.cu"), key=lambda path: (path.name == "ggml-cuda.cu", path.name))
    if not headers or not sources:
        raise ExcerptError(f"{folder} holds no CUDA sources")
    texts = []
    for path in (*headers, *sources):
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if not re.match(r"\s*#\s*(include|pragma)\b", line)]
        mark = path.name.replace(".", "_dot_").replace("-", "_dash_")
        texts.append("\n".join((f"{_MARK}{mark};", *kept)))
    flags = [f"-D{name}" for name in (*_MACROS, *defines)]
    command = ["c++", "-E", "-P", "-x", "c++", *flags, "-"]
    done = subprocess.run(command, input="\n".join(texts), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ExcerptError(f"the preprocessor refuses {folder}:\n{done.stderr[-2000:]}")
    return done.stdout


def _pieces(text: str) -> Iterator[_Piece]:
    file = ""
    for place, piece in enumerate(_top_level(text)):
        if piece.startswith(_MARK):
            file = piece[len(_MARK) : -1].replace("_dot_", ".").replace("_dash_", "-")
        elif piece.startswith(("extern template", "static_assert")):
            continue
        elif "__host__" in piece or not ("__device__" in piece or "__global__" in piece):
            yield _Piece(place, file, piece)


_TOKEN = re.compile(r"""R"\((?:.|\n)*?\)"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'|[;{}()\[\]=]""")


def _top_level(text: str) -> Iterator[str]:
    """Declarations and definitions outside every brace; strings are passed over whole."""
    start, depth, assigned = 0, 0, False
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token in "({[":
            depth += 1
        elif token in ")}]":
            depth -= 1
        elif token == "=" and depth == 0:
            assigned = True
        ends = token == ";" or (token == "}" and not assigned and not re.match(r"\s*;", text[match.end() :][:40]))
        if depth == 0 and ends:
            yield text[start : match.end()].strip()
            start, assigned = match.end(), False


def _names(piece: str) -> set[str]:
    """What a declaration or definition introduces: a function, a type with its enumerators, a variable."""
    head = piece.split("{", 1)[0]
    names = set(_TYPE.findall(head)) if "(" not in head or piece.rstrip().endswith("};") else set()
    if names:
        if piece.lstrip().startswith("enum"):
            names |= set(re.findall(r"[{,]\s*([A-Za-z_]\w*)", piece))
        return names
    if piece.startswith("typedef"):
        pointer = re.search(r"\(\s*\*\s*([A-Za-z_]\w*)\s*\)", piece)
        return {pointer.group(1) if pointer else _WORD.findall(piece)[-1]}
    before = head.split("=", 1)[0]
    calls = [name for name in _CALL.findall(_without_nested(before)) if name not in _NOT_A_NAME]
    if calls:
        return {calls[-1]}
    words = _WORD.findall(before.split("[", 1)[0])
    return set(words[-1:])


def _without_nested(text: str) -> str:
    """`text` with what stands inside parentheses taken out, so that a parameter's own call is not the name."""
    kept, depth = [], 0
    for character in text:
        if character == ")":
            depth -= 1
        if depth == 0:
            kept.append(character)
        if character == "(":
            depth += 1
    return "".join(kept)
