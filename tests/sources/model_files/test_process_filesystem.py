"""Paths of a server, followed inside its own root."""

import os
from pathlib import Path

import pytest

from kvtop.sources.model_files.process_filesystem import ModelNotFoundError, ProcessFilesystem


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A container's root, and outside of it a file of the same name that must never be found."""
    inside = tmp_path / "root"
    (inside / "data/deep").mkdir(parents=True)
    (inside / "data/model").write_text("inside")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/model").write_text("outside")
    return inside


def _link(root: Path, name: str, target: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("absolute", "/data/model"),
        ("relative", "data/model"),
        ("data/deep/up", "../model"),
        ("too_far_up", "../../../../data/model"),
        ("absolute_and_up", "/../../data/model"),
        ("through_directory", "/dirlink/model"),
        ("twice", "absolute_again"),
    ],
)
def test_links_are_followed_inside_the_root(root: Path, name: str, target: str) -> None:
    _link(root, "dirlink", "/data")
    _link(root, "absolute_again", "/data/model")
    _link(root, name, target)
    assert Path(ProcessFilesystem(str(root)).ours(f"/{name}")).read_text() == "inside"


def test_the_name_is_kept_where_it_leads_to_the_same_file(root: Path) -> None:
    _link(root, "relative", "data/model")
    _link(root, "absolute", "/data/model")
    eyes = ProcessFilesystem(str(root))
    assert eyes.ours("/relative") == f"{root}/relative"
    assert eyes.ours("/absolute") == f"{root}/data/model"
    assert eyes.ours("/") == f"{root}/"


def test_dots_cannot_leave_the_root(root: Path) -> None:
    assert Path(ProcessFilesystem(str(root)).ours("/../data/../../data//./model")).read_text() == "inside"


@pytest.mark.parametrize("path", ["/absent", "/data/model/below", "/loop", "/dangling"])
def test_what_is_not_there_is_an_os_error(root: Path, path: str) -> None:
    _link(root, "loop", "loop")
    _link(root, "dangling", "/nowhere")
    with pytest.raises(OSError, match=r"No such file|Not a directory|Too many levels"):
        ProcessFilesystem(str(root)).ours(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/data/model", "/data/model"),
        ("/relative", "/data/model"),
        ("/dangling", "/nowhere/else"),
        ("/data/absent", "/data/absent"),
        ("/loop", "/loop"),
    ],
)
def test_where_a_path_leads_though_nothing_is_there(root: Path, path: str, expected: str) -> None:
    for name, target in (("relative", "data/model"), ("dangling", "/nowhere/else"), ("loop", "loop")):
        _link(root, name, target)
    assert ProcessFilesystem(str(root)).target(path) == expected


def test_this_machine_and_the_root_of_a_process_are_the_same_here(root: Path) -> None:
    path = str(root / "data/model")
    assert ProcessFilesystem().ours(path) == path
    if Path("/proc/self/root").exists():
        ours = ProcessFilesystem(f"/proc/{os.getpid()}/root").ours(path)
        assert ours == f"/proc/{os.getpid()}/root{path}"
        assert Path(ours).read_text() == "inside"


def test_relative_paths_need_the_working_directory() -> None:
    assert ProcessFilesystem(cwd="/srv/").absolute("m.gguf") == "/srv/m.gguf"
    assert ProcessFilesystem(cwd="/").absolute("m.gguf") == "/m.gguf"
    assert ProcessFilesystem().absolute("/m.gguf") == "/m.gguf"
    with pytest.raises(ModelNotFoundError, match="working directory cannot be read"):
        ProcessFilesystem().absolute("m.gguf")


def test_an_empty_variable_is_unset() -> None:
    assert ProcessFilesystem(environ={"HOME": ""}, home="/root").home_directory() == "/root"
    assert ProcessFilesystem(environ={"HOME": "/h"}, home="/root").home_directory() == "/h"
    assert ProcessFilesystem(environ=None).home_directory() is None
