"""The version of an installed program: what it prints, or what stands beside its interpreter."""

from pathlib import Path

import pytest

from kvtop.sources.tools.program_version import distribution_version, found_program, printed_build


def program(folder: Path, text: str) -> str:
    path = folder / "llama-server"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("printed", "build"),
    [
        ("version: 11434 (5ebf41ce)", "b11434"),
        ("loading\nversion: 1 (x)", "b1"),
        ("version: 0 (unknown)", None),
        ("version: eleven", None),
        ("", None),
        ("version: " + "9" * 40, None),
    ],
)
@pytest.mark.parametrize("stream", [1, 2])
def test_a_build_is_what_the_program_prints(tmp_path: Path, printed: str, build: str | None, stream: int) -> None:
    assert printed_build(program(tmp_path, f"#!/bin/sh\nprintf '%b\\n' '{printed}' >&{stream}\n")) == build


def test_a_program_that_cannot_run_has_no_build(tmp_path: Path) -> None:
    assert printed_build(str(tmp_path / "missing")) is None
    assert printed_build(program(tmp_path, "#!/no/such/interpreter\n")) is None


def test_a_distribution_is_read_beside_the_interpreter_and_nothing_is_run(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    (packages / "mlx_lm-0.32.2.dist-info").mkdir(parents=True)
    script = program(tmp_path, f"#!{tmp_path}/bin/python3\nraise SystemExit\n")
    assert distribution_version(script, "mlx-lm") == "0.32.2"
    assert distribution_version(script, "vllm") is None
    assert distribution_version(program(tmp_path, "\x7fELF"), "mlx-lm") is None
    assert distribution_version(str(tmp_path / "missing"), "mlx-lm") is None


def test_a_program_is_found_on_the_path_of_its_own_environment(tmp_path: Path) -> None:
    path = program(tmp_path, "#!/bin/sh\n")
    assert found_program("llama-server", {"PATH": str(tmp_path)}) == path
    assert found_program("llama-server", {"PATH": str(tmp_path / "none")}) is None
