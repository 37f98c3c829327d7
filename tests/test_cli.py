"""The program as a person runs it, in processes of its own."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest

from kvtop.app.frames import config_of, one_frame
from kvtop.cli import _parser, main
from kvtop.config import DEFAULT_TEXT
from kvtop.sources.demo import SCENARIOS
from kvtop.views.export.snapshot.formats import render

ROOT = Path(__file__).resolve().parents[1]


def kvtop(*arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kvtop", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=240, check=False, env={**os.environ, **(environ or {})}
    )


def test_version() -> None:
    assert kvtop("--version").stdout.startswith("kvtop ")


@pytest.fixture(scope="module")
def contract() -> dict[str, object]:
    """The published schema."""
    document: dict[str, object] = json.loads(kvtop("schema").stdout)
    return document


@pytest.mark.parametrize("name", [scenario.name for scenario in SCENARIOS])
def test_every_scenario_makes_a_snapshot_that_keeps_the_contract(name: str, contract: dict[str, object]) -> None:
    # What the command does, without a process for each: the next test starts one.
    args = _parser(frozenset({"snapshot"})).parse_args(["snapshot", f"--demo={name}"])
    frame = json.loads(render(one_frame(args, config_of(args)), "json"))
    jsonschema.validate(frame, contract)
    for server in frame["servers"]:
        for memory in server["memory"]:
            sizes = [segment["bytes"] for segment in memory["segments"].values()]
            if memory["driver_bytes"] is not None and None not in sizes:
                assert sum(sizes) == memory["driver_bytes"]


def test_the_command_prints_one_that_keeps_the_contract(contract: dict[str, object]) -> None:
    done = kvtop("snapshot", "--json", "--demo", "rtx4090_llamacpp")
    assert (done.returncode, done.stderr) == (0, "")
    jsonschema.validate(json.loads(done.stdout), contract)


@pytest.mark.parametrize(
    ("name", "starts"),
    [("s.csv", "taken_at,host"), ("s.md", "# kvtop"), ("s.svg", "<svg"), ("s.html", "<!DOCTYPE"), ("s.prom", "# HELP")],
)
def test_the_name_of_the_file_decides_the_format(name: str, starts: str, tmp_path: Path) -> None:
    done = kvtop("snapshot", "--demo", "-o", str(tmp_path / name))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(starts)


def test_a_snapshot_that_cannot_be_written_says_where_and_why(tmp_path: Path) -> None:
    done = kvtop("snapshot", "--demo", "-o", str(tmp_path / "none" / "s.json"))
    assert done.returncode == 1
    assert done.stderr == f"kvtop: {tmp_path}/none/s.json: cannot be written: No such file or directory\n"
    both = kvtop("snapshot", "--demo", "--json", "--format", "csv")
    assert both.returncode == 2
    assert "give one of them" in both.stderr


def test_unknown_scenario_names_the_ones_there_are() -> None:
    done = kvtop("snapshot", "--demo", "nowhere")
    assert done.returncode == 2
    assert all(scenario.name in done.stderr for scenario in SCENARIOS)


def test_dashboard_without_a_terminal_is_one_plain_sentence() -> None:
    done = kvtop("--demo")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "snapshot --json" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout


def test_snapshot_never_imports_the_dashboard() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "kvtop", "snapshot", "--demo"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    assert "kvtop.app.frames" in done.stderr
    assert "textual" not in done.stderr
    assert "pydantic" not in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("interval = 1", ("interval", "interval_seconds")),
        ("interval_seconds = 0.1", ("interval_seconds", "0.5")),
        ('interval_seconds = "1"', ("interval_seconds",)),
        ('ascii = "maybe"', ("ascii", "auto, always or never")),
        ("x = [", ("TOML",)),
        ('[[servers]]\nurl = "ftp://x"', ("servers.url", "http://")),
    ],
)
def test_a_bad_configuration_names_file_key_and_what_is_accepted(
    text: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "kvtop.toml"
    file.write_text(text, encoding="utf-8")
    done = kvtop("snapshot", "--demo", "--config", str(file))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in (str(file), *words))


def test_the_default_configuration_is_what_it_says(tmp_path: Path) -> None:
    assert kvtop("config", "--default").stdout == DEFAULT_TEXT
    keys = [line[1:] for line in DEFAULT_TEXT.splitlines() if line.startswith("#") and " = " in line]
    assert tomllib.loads("\n".join(keys[:4]))["interval_seconds"] == 1.0
    file = tmp_path / "kvtop.toml"
    file.write_text("\n".join(keys[:4]), encoding="utf-8")
    assert kvtop("config", "--config", str(file)).returncode == 0


def test_the_configuration_in_force_is_a_configuration(tmp_path: Path) -> None:
    text = 'theme = "light"\ndiscover = false\n[keys]\nquit = "x"\n[[servers]]\nurl = "http://h:1"\n'
    file = tmp_path / "kvtop.toml"
    file.write_text(text, encoding="utf-8")
    printed = kvtop("config", environ={"KVTOP_CONFIG": str(file)}).stdout
    assert printed.startswith(f"# file: {file}\n")
    assert {"theme": "light", "discover": False, "keys": {"quit": "x"}}.items() <= tomllib.loads(printed).items()
    again = tmp_path / "again.toml"
    again.write_text(printed, encoding="utf-8")
    assert kvtop("config", "--config", str(again)).stdout.splitlines()[1:] == printed.splitlines()[1:]


@pytest.mark.parametrize("value", ["nan", "inf", "0.1"])
def test_an_interval_is_a_time(value: str) -> None:
    done = kvtop("snapshot", "--demo", "--interval", value)
    assert (done.returncode, done.stderr) == (2, f"kvtop: --interval: must be 0.5 or more, got {value}\n")


def test_two_dashes_are_no_value(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["replay", "x", "--at=--"], ["snapshot", "--url=--"], ["snapshot", "-o=--"]):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 2
        assert "=--: -- is no value" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:99999"])
def test_an_address_that_is_none_is_one_sentence(url: str) -> None:
    done = kvtop("snapshot", "--url", url)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("kvtop: --url: ")


@pytest.mark.parametrize("verb", [("explain",), ("snapshot", "--demo"), ("schema",)])
def test_a_full_or_closed_output_is_no_crash(verb: tuple[str, ...]) -> None:
    words = " ".join([sys.executable, "-m", "kvtop", *verb])
    full = subprocess.run(f"{words} > /dev/full", shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert full.returncode == 1
    assert full.stderr == "kvtop: standard output: cannot be written: No space left on device\n"
    closed = subprocess.run(f"{words} >&-", shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert (closed.returncode, closed.stderr) == (0, "")


def test_an_output_that_is_not_unicode_gets_escapes(tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    assert kvtop("snapshot", "--demo", "-o", str(before)).returncode == 0
    done = kvtop("diff", str(before), "live", "--demo", "filling_up", environ={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (1, "")
    assert "\\u2192" in done.stdout


def test_the_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for action in _parser(frozenset())._actions:
        for verb in action.choices or () if action.dest == "verb" else ():
            assert f"kvtop {verb}" in readme


def test_plan_exit_codes(tmp_path: Path) -> None:
    assert kvtop("plan", "--", "frobnicate").returncode == 2
    missing = kvtop("plan", "--gpu", "24GiB", "--", "llama-server", "-m", str(tmp_path / "none.gguf"))
    assert missing.returncode == 2
    assert "none.gguf" in missing.stderr
    refused = kvtop("plan", "--json", "--gpu", "none", "--", "llama-server", "-m", "x.gguf", "-fa", "-c", "4096")
    assert refused.returncode == 3
    assert "unknown value for --flash-attn: '-c'" in json.loads(refused.stdout)["error"]["message"]
    assert "cc=MAJOR.MINOR" in kvtop("plan", "--gpu", "24GiB,x", "--", "llama-server", "-m", "x").stderr
