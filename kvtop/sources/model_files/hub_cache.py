"""The Hugging Face hub cache on disk: `models--ORG--NAME/{refs,snapshots,blobs}`.

Sources: huggingface_hub 1.x (constants.py, file_download.py) and llama.cpp b11434 (common/hf-cache.cpp), which share
the layout; only the first variable differs.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from kvtop.sources.model_files.process_filesystem import ModelNotFoundError, ProcessFilesystem
from kvtop.sources.model_files.regular_file import open_descriptor

_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-fA-F]{40}")
_REF_BYTES = 200


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One downloaded revision. `path` is the server's path, `note` what had to be assumed."""

    path: str
    note: str = ""


def is_repository(name: str) -> bool:
    """Whether a model name can be an id on the hub ("org/name", or one word of old)."""
    return _REPOSITORY.fullmatch(name) is not None and ".." not in name and "--" not in name


def hub_directory(filesystem: ProcessFilesystem, *, first: tuple[str, ...] = ()) -> str | None:
    """Where the server keeps the hub's files (its path), or None when not even its home is known.

    `first` are variables that come before HF_HUB_CACHE: LLAMA_CACHE for llama.cpp.
    """
    home = filesystem.home_directory()
    for variable, below in (
        *((name, "") for name in first),
        ("HF_HUB_CACHE", ""),
        ("HUGGINGFACE_HUB_CACHE", ""),
        ("HF_HOME", "/hub"),
        ("XDG_CACHE_HOME", "/huggingface/hub"),
    ):
        value = filesystem.variable(variable)
        if value is not None:
            at_home = home is not None and (value == "~" or value.startswith("~/"))
            return (f"{home}{value[1:]}" if at_home else value).rstrip("/") + below
    return None if home is None else f"{home.rstrip('/')}/.cache/huggingface/hub"


def find_snapshot(filesystem: ProcessFilesystem, cache: str, repository: str, revision: str | None) -> Snapshot:
    """The snapshot that the server would load: `revision`, or the branch main.

    ModelNotFoundError when it is not in the cache, or when several are and nothing says which.
    """
    folder = f"{cache}/models--{repository.replace('/', '--')}"
    try:
        ours = Path(filesystem.ours(filesystem.absolute(folder)))
    except OSError as error:
        raise ModelNotFoundError(repository, f"not in the hub cache: {_words(error)}", (folder,)) from error
    wanted = revision or "main"
    commit = _ref(filesystem, f"{folder}/refs/{wanted}") or (wanted if revision else None)
    snapshots = _names(ours / "snapshots")
    if commit is not None:
        if commit not in snapshots:
            raise ModelNotFoundError(repository, f"{wanted} is not in the hub cache", (f"{folder}/snapshots/{commit}",))
        return Snapshot(f"{folder}/snapshots/{commit}")
    if len(snapshots) == 1:
        return Snapshot(f"{folder}/snapshots/{snapshots[0]}", "no refs/main: took the only snapshot in the hub cache")
    if not snapshots:
        raise ModelNotFoundError(repository, "no snapshot in the hub cache", (f"{folder}/snapshots",))
    shown = ", ".join(name[:12] for name in snapshots[:4]) + (" …" if len(snapshots) > 4 else "")
    raise ModelNotFoundError(
        repository, f"ambiguous: {len(snapshots)} snapshots and no refs/main ({shown})", (f"{folder}/snapshots",)
    )


def llama_branch(filesystem: ProcessFilesystem, cache: str, repository: str) -> str | None:
    """The branch that llama.cpp loads from the cache: main, or any other that has a ref (`get_cached_ref`), or None."""
    folder = f"{cache}/models--{repository.replace('/', '--')}/refs"
    try:
        names = _names(Path(filesystem.ours(filesystem.absolute(folder))))
    except OSError:
        return None
    names.sort(key=lambda name: name != "main")
    return next((name for name in names if _ref(filesystem, f"{folder}/{name}") is not None), None)


def _ref(filesystem: ProcessFilesystem, path: str) -> str | None:
    """The commit that a ref file holds; None where there is no such file."""
    if ".." in path.split("/"):
        return None
    try:
        descriptor = open_descriptor(filesystem.ours(filesystem.absolute(path)))
    except OSError:
        return None
    try:
        text = os.read(descriptor, _REF_BYTES).decode("ascii", "replace").strip()
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return text if _COMMIT.fullmatch(text) else None


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
