"""Where a server's model lies, from what its command line says: paths, hub names, llama.cpp's `-hf`, Ollama's names.

The same functions serve a running server (root "/proc/PID/root", its environment) and `kvtop plan` (root "/", ours).
They look at names only; opening what they return is the readers' business. File systems may hang: call from a thread.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kvtop.domain.model_file import ModelFileError
from kvtop.sources.model_files.gguf_parts import part_paths
from kvtop.sources.model_files.hub_cache import find_snapshot, hub_directory, is_repository, llama_branch
from kvtop.sources.model_files.json_object import read_object
from kvtop.sources.model_files.process_filesystem import ModelNotFoundError, ProcessFilesystem
from kvtop.sources.rights.permission_bits import CLOSED, is_restricted

__all__ = [
    "Located",
    "ModelNotFoundError",
    "ProcessFilesystem",
    "locate_checkpoint",
    "locate_file",
    "locate_hf",
    "locate_ollama",
]

_DELETED = " (deleted)"
_OLLAMA_SERVICE = "/usr/share/ollama/.ollama/models"
_OLLAMA_MODEL_LAYER = "application/vnd.ollama.image.model"
_OLLAMA_NAME = re.compile(r"(?:(?:(\w[\w.:-]*)/)?(\w[\w.-]*)/)?(\w[\w.-]*)(?::(\w[\w.-]*))?", re.ASCII)
_MANIFEST_BYTES = 1 << 20
_FILE_LIMIT = 10_000
_SIDE_FILES = ("mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-")
"""In the name of a GGUF file that is no model by itself (`gguf_filename_is_model`, common/download.cpp b11434)."""
_SNAPSHOTS = "snapshots"
_DEFAULT_TAGS = ("Q4_K_M", "Q8_0")


@dataclass(frozen=True, slots=True)
class Located:
    """A path that we can open. `parts`: all existing files of a split GGUF, in order, else (). `note`: assumptions."""

    path: str
    note: str = ""
    parts: tuple[str, ...] = ()


def locate_file(path: str, filesystem: ProcessFilesystem) -> Located:
    """A model file given as a path (`-m`), or as the kernel shows one that was replaced ("… (deleted)")."""
    note = ""
    try:
        found = _existing(path, filesystem)
    except ModelNotFoundError:
        if not path.endswith(_DELETED):
            raise
        path = path.removesuffix(_DELETED)
        try:
            found = _existing(path, filesystem)
        except ModelNotFoundError as error:
            raise ModelNotFoundError(path, "the server's file was deleted after it was opened", error.tried) from error
        note = "the file was replaced after the server opened it: this is the new one"
    if Path(found).is_dir():
        raise ModelNotFoundError(path, "a directory, not a file", (found,))
    return Located(found, note, _parts(path, filesystem))


def locate_checkpoint(
    name: str, filesystem: ProcessFilesystem, *, revision: str | None = None, download_directory: str | None = None
) -> Located:
    """A model directory as vLLM and MLX take it: a path, or an id on the hub looked up in the server's own cache.

    `download_directory` is vLLM's `--download-dir`, which takes the place of the hub cache.
    """
    is_path = name.startswith(("/", "./", "../")) or name in {".", ".."}
    if is_path or filesystem.cwd is not None:  # both engines try a local directory before the hub
        try:
            return Located(_existing(name, filesystem))
        except ModelNotFoundError:
            if is_path:
                raise
    if not is_repository(name):
        raise ModelNotFoundError(name, "neither a directory nor an id on the hub")
    cache = download_directory or hub_directory(filesystem)
    if cache is None:
        raise ModelNotFoundError(name, "the server's environment and home are unknown, and so is its hub cache")
    snapshot = find_snapshot(filesystem, cache, name, revision)
    notes = [snapshot.note]
    if filesystem.environ is None and download_directory is None:
        notes.append("environment unreadable: took the default hub cache")
    return Located(_existing(snapshot.path, filesystem), "; ".join(note for note in notes if note))


def locate_hf(name: str, filesystem: ProcessFilesystem, *, file: str | None = None) -> Located:
    """llama.cpp's `-hf USER/REPO[:QUANT]` (`--hf-file` as `file`), in the hub cache or the flat cache of old builds.

    The choice among files is `find_best_model`'s (common/download.cpp b11434). llama.cpp takes the first in the order
    of the directory or of the hub's reply; here it is the first by name, and a note says when there were others.
    """
    repository, _, tag = name.partition(":")
    if repository.count("/") != 1 or not is_repository(repository):
        raise ModelNotFoundError(name, "invalid HF repo format, expected <user>/<model>[:quant]")
    tried: list[str] = []
    reasons: list[str] = []
    cache = hub_directory(filesystem, first=("LLAMA_CACHE",))
    if cache is not None:
        try:
            snapshot = find_snapshot(filesystem, cache, repository, llama_branch(filesystem, cache, repository))
        except ModelNotFoundError as error:
            tried += error.tried
            reasons.append(error.reason)
        else:
            choice, note = _choose(_tree(_existing(snapshot.path, filesystem)), tag, file)
            if choice is not None:
                located = locate_file(f"{snapshot.path}/{choice}", filesystem)
                return Located(located.path, "; ".join(filter(None, (snapshot.note, note))), located.parts)
            tried.append(snapshot.path)
            reasons.append("no file of the snapshot matches")
    for flat in _flat_directories(filesystem):
        prefix = f"{repository.replace('/', '_')}_"
        wanted = None if file is None else prefix + file.replace("/", "_")
        try:
            names = [entry for entry in _names(_existing(flat, filesystem)) if entry.startswith(prefix)]
        except ModelNotFoundError:
            names = []
        choice, note = _choose(names, tag, wanted)
        if choice is not None:
            located = locate_file(f"{flat}/{choice}", filesystem)
            return Located(located.path, note, located.parts)
        tried.append(f"{flat}/{prefix}*")
    raise ModelNotFoundError(name, reasons[0] if reasons else "not in llama.cpp's cache", tuple(dict.fromkeys(tried)))


def find_sibling(model_path: str, keyword: str, repository: str) -> str | None:
    """The file that `-hf` takes along with a model, by a word in its name (`find_best_sibling`, common/download.cpp).

    In the model's folder of the snapshot first, then in those above it; of several the closest in bits, then the first
    by name.
    """
    folder = Path(model_path).parent
    prefix = ""
    if _SNAPSHOTS not in folder.parts:
        # The flat cache of old builds: one folder for all, and the repository before every name.
        prefix = f"{repository.partition(':')[0].replace('/', '_')}_"
    bits = _quantization_bits(Path(model_path).name)
    while True:
        names = [entry for entry in sorted(_names(str(folder))) if entry.endswith(".gguf") and entry.startswith(prefix)]
        found = [entry for entry in names if keyword in entry]
        if found:
            return str(folder / min(found, key=lambda entry: abs(_quantization_bits(entry) - bits)))
        if prefix or folder.parent.name == _SNAPSHOTS or folder.parent == folder:
            return None
        folder = folder.parent


def _quantization_bits(name: str) -> int:
    """The first number in the tag of a file's name: 4 of "gemma-Q4_K_M.gguf", 16 of "mmproj-F16.gguf", else 0."""
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", name.removesuffix(".gguf"))
    tag = re.search(r"[-.]([A-Z0-9_]+)$", stem, re.IGNORECASE)
    number = re.search(r"\d+", tag[1]) if tag else None
    return int(number[0]) if number else 0


def locate_ollama(name: str, filesystem: ProcessFilesystem) -> Located:
    """A model by Ollama's name ("llama3.2:3b", "host/user/model:tag"): manifest -> blob, which has no extension."""
    manifest = ollama_manifest(name, filesystem)
    for media_type, blob in manifest.blobs:
        if media_type == _OLLAMA_MODEL_LAYER:
            return Located(_existing(blob, filesystem))
    raise ModelNotFoundError(name, "the manifest names no model", (manifest.path,))


@dataclass(frozen=True, slots=True)
class OllamaManifest:
    """What Ollama's store has of a model: (media type, path) of each layer, and the path of its configuration."""

    path: str
    blobs: tuple[tuple[str, str], ...]
    config_path: str | None


def ollama_manifest(name: str, filesystem: ProcessFilesystem) -> OllamaManifest:
    """The manifest of a name, of the first store that has it. Raises ModelNotFoundError naming what was tried."""
    match = _OLLAMA_NAME.fullmatch(name)
    if match is None:
        raise ModelNotFoundError(name, "not a name that Ollama gives")
    host, user, model, tag = match.groups()
    full = f"{host or 'registry.ollama.ai'}/{user or 'library'}/{model}/{tag or 'latest'}"
    home = filesystem.home_directory()
    folders = [filesystem.variable("OLLAMA_MODELS"), f"{home}/.ollama/models" if home else None, _OLLAMA_SERVICE]
    tried: list[str] = []
    for folder in dict.fromkeys(folder for folder in folders if folder):
        manifest = f"{folder}/manifests/{full}"
        try:
            found = read_object(_existing(manifest, filesystem), _MANIFEST_BYTES)
        except (ModelNotFoundError, ModelFileError):
            tried.append(manifest)
            continue
        layers = found.get("layers")
        blobs = [
            (str(layer.get("mediaType")), blob)
            for layer in (layers if isinstance(layers, list) else [])
            if (blob := _blob(folder, layer)) is not None
        ]
        return OllamaManifest(manifest, tuple(blobs), _blob(folder, found.get("config")))
    raise ModelNotFoundError(name, "no such model in Ollama's store", tuple(tried))


def _blob(folder: str, layer: object) -> str | None:
    """The path of a layer's content; only a digest may become part of it."""
    if not isinstance(layer, dict):
        return None
    digest = re.fullmatch(r"sha256[:-]([0-9a-f]{64})", str(layer.get("digest")))
    return None if digest is None else f"{folder}/blobs/sha256-{digest[1]}"


def _existing(path: str, filesystem: ProcessFilesystem) -> str:
    inside = filesystem.absolute(path)
    try:
        return filesystem.ours(inside)
    except PermissionError as error:
        reason = CLOSED if is_restricted() else "permission denied (run as the server's user or as root)"
        raise ModelNotFoundError(path, reason, (str(error.filename),)) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ModelNotFoundError(path, reason.lower(), (inside,)) from error


def _parts(path: str, filesystem: ProcessFilesystem) -> tuple[str, ...]:
    found: list[str] = []
    for part in part_paths(path):
        try:
            found.append(_existing(part, filesystem))
        except ModelNotFoundError:
            continue
    return tuple(found)


def _choose(files: Iterable[str], tag: str, wanted: str | None) -> tuple[str | None, str]:
    """The file that llama.cpp would load out of these relative paths, and a note when the order decided."""
    names = sorted(files)
    if wanted is not None:
        return (wanted if wanted in names else None), ""
    models = [name for name in names if _is_model(name)]
    for wish in (tag,) if tag else _DEFAULT_TAGS:
        matching = [name for name in models if re.search(re.escape(wish) + r"[.-]", name, re.IGNORECASE)]
        if matching:
            return matching[0], _alternatives(matching)
    return (None, "") if tag or not models else (models[0], _alternatives(models))


def _alternatives(names: list[str]) -> str:
    return f"{len(names)} files match: took {names[0]}" if len(names) > 1 else ""


def _is_model(name: str) -> bool:
    file = name.rsplit("/", 1)[-1]
    parts = part_paths(name)
    is_first = not parts or parts[0] == name
    return file.endswith(".gguf") and not any(mark in file for mark in _SIDE_FILES) and is_first


def _tree(folder: str) -> list[str]:
    """Relative paths of the files below a snapshot. Directories that are links are not entered, so it ends."""
    found: list[str] = []
    for place, _, names in os.walk(folder):
        found += [os.path.relpath(f"{place}/{name}", folder) for name in names]
        if len(found) > _FILE_LIMIT:
            break
    return found


def _names(folder: str) -> list[str]:
    try:
        return [entry.name for entry in Path(folder).iterdir()]
    except OSError:
        return []


def _flat_directories(filesystem: ProcessFilesystem) -> list[str]:
    """Where builds before the hub layout put downloads (`fs_get_cache_directory`, common/common.cpp)."""
    if own := filesystem.variable("LLAMA_CACHE"):
        return [own.rstrip("/")]
    home = filesystem.home_directory()
    caches = [filesystem.variable("XDG_CACHE_HOME"), home and f"{home}/.cache", home and f"{home}/Library/Caches"]
    return [f"{cache}/llama.cpp" for cache in caches if cache]
