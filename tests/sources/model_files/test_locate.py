"""Where models lie: paths, the hub cache, llama.cpp's -hf, Ollama's store."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from kvtop.sources.model_files.hub_cache import hub_directory, is_repository
from kvtop.sources.model_files.locate import (
    ModelNotFoundError,
    ProcessFilesystem,
    find_sibling,
    locate_checkpoint,
    locate_file,
    locate_hf,
    locate_ollama,
)

COMMIT, OTHER = "a" * 40, "b" * 40
HUB = "home/u/.cache/huggingface/hub"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of a server's file system, with its home and working directory."""
    (tmp_path / "home/u").mkdir(parents=True)
    (tmp_path / "srv").mkdir()
    return tmp_path


@pytest.fixture
def eyes(root: Path) -> ProcessFilesystem:
    return ProcessFilesystem(str(root), cwd="/srv", environ={"HOME": "/home/u"})


def _write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _snapshot(base: Path, repository: str, files: tuple[str, ...], *, commit: str = COMMIT, ref: str = "main") -> Path:
    """A snapshot as the hub library makes it: relative links into blobs. Returns its directory."""
    folder = base / f"models--{repository.replace('/', '--')}"
    for name in files:
        link = folder / "snapshots" / commit / name
        blob = _write(folder / "blobs" / name.replace("/", "_"), name)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path("../" * (2 + name.count("/"))) / "blobs" / blob.name)
    if ref:
        _write(folder / "refs" / ref, commit)
    return folder / "snapshots" / commit


def test_absolute_and_relative_paths(root: Path, eyes: ProcessFilesystem) -> None:
    _write(root / "models/a.gguf")
    _write(root / "srv/b.gguf")
    (root / "models/link.gguf").symlink_to("/srv/b.gguf")
    assert locate_file("/models/a.gguf", eyes).path == f"{root}/models/a.gguf"
    assert locate_file("b.gguf", eyes).path == f"{root}/srv/b.gguf"
    assert locate_file("../models/a.gguf", eyes).path == f"{root}/srv/../models/a.gguf"
    assert locate_file("/models/link.gguf", eyes).path == f"{root}/srv/b.gguf"
    assert locate_file("/models/a.gguf", eyes).note == ""


def test_failures_say_what_was_tried(root: Path, eyes: ProcessFilesystem) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        locate_file("absent.gguf", eyes)
    assert str(caught.value) == "absent.gguf: no such file or directory (tried /srv/absent.gguf)"
    with pytest.raises(ModelNotFoundError, match="a directory, not a file"):
        locate_file("/srv", eyes)
    with pytest.raises(ModelNotFoundError, match="null"):
        locate_file("nul\0", eyes)
    with pytest.raises(ModelNotFoundError, match="working directory cannot be read"):
        locate_file("absent.gguf", ProcessFilesystem(str(root)))


def test_no_permission_has_a_remedy(eyes: ProcessFilesystem, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: ProcessFilesystem, path: str) -> str:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(ProcessFilesystem, "ours", refuse)  # tests may run as root, whom no mode bits stop
    with pytest.raises(ModelNotFoundError, match=r"permission denied \(run as the server's user or as root\)"):
        locate_file("/srv/a.gguf", eyes)


def test_deleted_and_replaced_files(root: Path, eyes: ProcessFilesystem) -> None:
    with pytest.raises(ModelNotFoundError, match="deleted after it was opened"):
        locate_file("/srv/a.gguf (deleted)", eyes)
    _write(root / "srv/a.gguf")
    located = locate_file("/srv/a.gguf (deleted)", eyes)
    assert located.path == f"{root}/srv/a.gguf"
    assert "replaced" in located.note
    _write(root / "srv/b.gguf (deleted)")
    assert locate_file("/srv/b.gguf (deleted)", eyes).note == ""


def test_parts_of_a_split_model_are_resolved_one_by_one(root: Path, eyes: ProcessFilesystem) -> None:
    names = [f"m-{number:05d}-of-00003.gguf" for number in (1, 2, 3)]
    for name in names[:2]:
        _write(root / "blobs" / f"blob-{name}")
        (root / "srv" / name).symlink_to(f"/blobs/blob-{name}")
    located = locate_file(names[1], eyes)
    assert located.path == f"{root}/blobs/blob-{names[1]}"
    assert located.parts == (f"{root}/blobs/blob-{names[0]}", f"{root}/blobs/blob-{names[1]}")


ALL = {
    "LLAMA_CACHE": "/l",
    "HF_HUB_CACHE": "/hc",
    "HUGGINGFACE_HUB_CACHE": "/hhc",
    "HF_HOME": "/hh",
    "XDG_CACHE_HOME": "/x",
    "HOME": "/home/u",
}


@pytest.mark.parametrize(
    ("unset", "expected"),
    [
        (0, "/l"),
        (1, "/hc"),
        (2, "/hhc"),
        (3, "/hh/hub"),
        (4, "/x/huggingface/hub"),
        (5, "/home/u/.cache/huggingface/hub"),
        (6, None),
    ],
)
def test_order_of_the_variables(unset: int, expected: str | None) -> None:
    environ = dict(list(ALL.items())[unset:])
    assert hub_directory(ProcessFilesystem(environ=environ), first=("LLAMA_CACHE",)) == expected
    if unset:
        assert hub_directory(ProcessFilesystem(environ=ALL | dict.fromkeys(list(ALL)[:unset], ""))) == expected


def test_home_is_expanded_and_may_come_from_the_caller() -> None:
    assert hub_directory(ProcessFilesystem(environ={"HF_HOME": "~/hf"}, home="/h")) == "/h/hf/hub"
    assert hub_directory(ProcessFilesystem(environ=None, home="/h/")) == "/h/.cache/huggingface/hub"


@pytest.mark.parametrize("name", ["a/b", "gpt2", "Org-1/Model_2.5"])
def test_ids(name: str) -> None:
    assert is_repository(name)
    assert not any(map(is_repository, (f"/{name}", f"{name}/", f"{name}/x/y", f"../{name}", f"{name}--x", f"{name} ")))


def test_checkpoints_by_path_come_first(root: Path, eyes: ProcessFilesystem) -> None:
    _snapshot(root / HUB, "org/name", ("config.json",))
    _write(root / "srv/org/name/config.json")
    assert locate_checkpoint("org/name", eyes).path == f"{root}/srv/org/name"
    assert locate_checkpoint("/srv/org/name", eyes).path == f"{root}/srv/org/name"
    with pytest.raises(ModelNotFoundError, match="no such file or directory"):
        locate_checkpoint("./other", eyes)


def test_checkpoints_in_the_hub_cache(root: Path, eyes: ProcessFilesystem) -> None:
    main = _snapshot(root / HUB, "org/name", ("config.json",))
    other = _snapshot(root / HUB, "org/name", ("config.json",), commit=OTHER, ref="pr/1")
    assert locate_checkpoint("org/name", eyes).path == str(main)
    assert locate_checkpoint("org/name", eyes, revision="pr/1").path == str(other)
    assert locate_checkpoint("org/name", eyes, revision=OTHER).path == str(other)
    for revision in ("v2", "../refs/main", "../../x"):
        with pytest.raises(ModelNotFoundError, match="is not in the hub cache"):
            locate_checkpoint("org/name", eyes, revision=revision)


def test_a_download_directory_takes_the_place_of_the_cache(root: Path, eyes: ProcessFilesystem) -> None:
    snapshot = _snapshot(root / "dl", "org/name", ("config.json",))
    assert locate_checkpoint("org/name", eyes, download_directory="/dl").path == str(snapshot)
    with pytest.raises(ModelNotFoundError, match=r"not in the hub cache.*models--org--name"):
        locate_checkpoint("org/name", eyes)


def test_snapshots_without_refs(root: Path, eyes: ProcessFilesystem) -> None:
    only = _snapshot(root / HUB, "org/name", ("config.json",), ref="")
    located = locate_checkpoint("org/name", eyes)
    assert (located.path, located.note) == (str(only), "no refs/main: took the only snapshot in the hub cache")
    _snapshot(root / HUB, "org/name", ("config.json",), commit=OTHER, ref="")
    with pytest.raises(ModelNotFoundError, match="ambiguous: 2 snapshots and no refs/main"):
        locate_checkpoint("org/name", eyes)


def test_an_unreadable_environment_is_said(root: Path) -> None:
    _snapshot(root / HUB, "org/name", ("config.json",))
    located = locate_checkpoint("org/name", ProcessFilesystem(str(root), environ=None, home="/home/u"))
    assert located.note == "environment unreadable: took the default hub cache"
    with pytest.raises(ModelNotFoundError, match="environment and home are unknown"):
        locate_checkpoint("org/name", ProcessFilesystem(str(root), environ=None))
    with pytest.raises(ModelNotFoundError, match="neither a directory nor an id on the hub"):
        locate_checkpoint("a b", ProcessFilesystem(str(root)))


FILES = (
    *("m-Q4_K_M.gguf", "m-Q8_0.gguf", "mmproj-Q4_K_M.gguf", "README.md"),
    *("bf/m-BF16-00001-of-00002.gguf", "bf/m-BF16-00002-of-00002.gguf"),
)


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        ("u/r", None, "m-Q4_K_M.gguf"),
        ("u/r:q8_0", None, "m-Q8_0.gguf"),
        ("u/r:BF16", None, "bf/m-BF16-00001-of-00002.gguf"),
        ("u/r", "mmproj-Q4_K_M.gguf", "mmproj-Q4_K_M.gguf"),
    ],
)
def test_hf_takes_the_file_that_llamacpp_takes(
    root: Path, eyes: ProcessFilesystem, name: str, file: str | None, expected: str
) -> None:
    snapshot = _snapshot(root / HUB, "u/r", FILES)
    located = locate_hf(name, eyes, file=file)
    assert located.path == f"{snapshot}/{expected}"
    assert Path(located.path).read_text() == expected
    assert len(located.parts) == (2 if "-of-" in expected else 0)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("m-BF16.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf"), "m-Q4_K_M.gguf"),
        (("m-BF16.gguf", "m-Q5_K_M.gguf", "m-Q8_0.gguf"), "m-Q8_0.gguf"),
        (("m-BF16.gguf", "m-Q5_K_M.gguf", "m-Q8_0_L.gguf"), "m-BF16.gguf"),
    ],
)
def test_hf_without_a_tag_asks_for_one_type_after_the_other(
    root: Path, eyes: ProcessFilesystem, files: tuple[str, ...], expected: str
) -> None:
    """common/download.cpp: Q4_K_M, then Q8_0, then the first model."""
    snapshot = _snapshot(root / HUB, "u/r", files)
    assert locate_hf("u/r", eyes).path == f"{snapshot}/{expected}"


def test_hf_without_a_tag_falls_back_to_any_model(root: Path, eyes: ProcessFilesystem) -> None:
    snapshot = _snapshot(root / HUB, "u/r", ("x-IQ2_M.gguf", "y-IQ3_S.gguf"), ref="other")
    located = locate_hf("u/r", eyes)
    assert located.path == f"{snapshot}/x-IQ2_M.gguf"
    assert located.note == "2 files match: took x-IQ2_M.gguf"
    with pytest.raises(ModelNotFoundError, match="no file of the snapshot matches"):
        locate_hf("u/r:Q4_K_M", eyes)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HOME": "/home/u"}, "home/u/.cache/llama.cpp"),
        ({"HOME": "/home/u"}, "home/u/Library/Caches/llama.cpp"),
        ({"HOME": "/home/u", "XDG_CACHE_HOME": "/x"}, "x/llama.cpp"),
        ({"LLAMA_CACHE": "/l"}, "l"),
    ],
)
def test_hf_in_the_flat_cache_of_old_builds(root: Path, environ: Mapping[str, str], folder: str) -> None:
    for name in ("u_r_m-Q4_K_M.gguf", "u_r_m-Q8_0.gguf", "other_r_m-Q4_K_M.gguf"):
        _write(root / folder / name)
    eyes = ProcessFilesystem(str(root), environ=environ)
    assert locate_hf("u/r:Q8_0", eyes).path == f"{root}/{folder}/u_r_m-Q8_0.gguf"
    assert locate_hf("u/r", eyes, file="m-Q4_K_M.gguf").path == f"{root}/{folder}/u_r_m-Q4_K_M.gguf"


@pytest.mark.parametrize("name", ["r", "a/b/c", "../r", "/u/r", ""])
def test_hf_refuses_other_names(eyes: ProcessFilesystem, name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="invalid HF repo format"):
        locate_hf(name, eyes)


def test_a_projector_comes_with_the_model_of_its_repository(root: Path) -> None:
    files = (
        "m-Q4_K_M.gguf",
        "m-F16.gguf",
        "mmproj-F16.gguf",
        "mmproj-Q8_0.gguf",
        "big/m-Q8_0.gguf",
        "big/mmproj-m.gguf",
    )
    folder = _snapshot(root / HUB, "u/r", (*files, "deep/down/m-Q8_0.gguf"))

    def of(name: str) -> str | None:
        found = find_sibling(str(folder / name), "mmproj", "u/r:Q8_0")
        return None if found is None else str(Path(found).relative_to(folder))

    assert of("m-Q4_K_M.gguf") == "mmproj-Q8_0.gguf"
    assert of("m-F16.gguf") == "mmproj-F16.gguf"
    assert of("big/m-Q8_0.gguf") == "big/mmproj-m.gguf"
    assert of("deep/down/m-Q8_0.gguf") == "mmproj-Q8_0.gguf"
    assert find_sibling(str(_snapshot(root / HUB, "u/text", ("m.gguf",)) / "m.gguf"), "mmproj", "u/text") is None
    for name in ("u_r_m.gguf", "u_r_mmproj-F16.gguf", "u_other_mmproj-F16.gguf"):
        _write(root / "flat" / name)
    flat = str(root / "flat")
    assert find_sibling(f"{flat}/u_r_m.gguf", "mmproj", "u/r") == f"{flat}/u_r_mmproj-F16.gguf"
    assert find_sibling(f"{flat}/u_r_m.gguf", "mmproj", "u/none") is None


def _ollama(store: Path, manifest: str, digest: str, media_type: str = "application/vnd.ollama.image.model") -> None:
    layers = [{"mediaType": "application/vnd.ollama.image.license"}, {"mediaType": media_type, "digest": digest}]
    _write(store / "manifests" / manifest, json.dumps({"layers": layers}))


@pytest.mark.parametrize(
    ("name", "manifest"),
    [
        ("llama3.2:3b", "registry.ollama.ai/library/llama3.2/3b"),
        ("llama3.2", "registry.ollama.ai/library/llama3.2/latest"),
        ("user/model:q4", "registry.ollama.ai/user/model/q4"),
        ("hf.co/user/model:q4", "hf.co/user/model/q4"),
    ],
)
@pytest.mark.parametrize("store", ["home/u/.ollama/models", "usr/share/ollama/.ollama/models"])
def test_ollama_names(root: Path, eyes: ProcessFilesystem, name: str, manifest: str, store: str) -> None:
    _ollama(root / store, manifest, f"sha256:{'c' * 64}")
    blob = _write(root / store / "blobs" / f"sha256-{'c' * 64}")
    assert locate_ollama(name, eyes).path == str(blob)


def test_ollama_failures(root: Path, eyes: ProcessFilesystem) -> None:
    store = root / "home/u/.ollama/models"
    with pytest.raises(ModelNotFoundError, match=r"no such model in Ollama's store .*/library/m/latest"):
        locate_ollama("m", eyes)
    _ollama(store, "registry.ollama.ai/library/m/latest", "sha256:../../../x")
    with pytest.raises(ModelNotFoundError, match="the manifest names no model"):
        locate_ollama("m", eyes)
    _ollama(store, "registry.ollama.ai/library/m/latest", f"sha256:{'c' * 64}")
    with pytest.raises(ModelNotFoundError, match="no such file or directory"):
        locate_ollama("m", eyes)
    for name in ("", "../m", "m:", "a/b/c/d", "m:../x", "m\n"):
        with pytest.raises(ModelNotFoundError, match="not a name that Ollama gives"):
            locate_ollama(name, eyes)
