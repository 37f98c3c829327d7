"""The program as a person runs it: once per kind of command in a process of its own (`started`), else in this one."""

import json
import os
import pty
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

import jsonschema
import pytest

from kvtop.app.frames import config_of, one_frame
from kvtop.cli import _parser, main
from kvtop.config import DEFAULT_TEXT
from kvtop.sources.demo import SCENARIOS
from kvtop.verbs import VERBS
from kvtop.verbs.command_line.help_page import VARIABLES
from kvtop.views.export.snapshot.formats import render
from tests.command import kvtop

ROOT = Path(__file__).resolve().parents[1]


def started(*arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kvtop", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=240, check=False, env={**os.environ, **(environ or {})}
    )


def test_version() -> None:
    assert started("--version").stdout.startswith("kvtop ")


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
    done = started("snapshot", "--json", "--demo", "rtx4090_llamacpp")
    assert (done.returncode, done.stderr) == (0, "")
    jsonschema.validate(json.loads(done.stdout), contract)


@pytest.mark.parametrize(
    ("name", "starts"),
    [
        ("s.csv", "taken_at,host"),
        ("s.txt", "workstation  2026-"),
        ("s.md", "# kvtop"),
        ("s.svg", "<svg"),
        ("s.html", "<!DOCTYPE"),
        ("s.prom", "# HELP"),
    ],
)
def test_the_name_of_the_file_decides_the_format(name: str, starts: str, tmp_path: Path) -> None:
    done = kvtop("snapshot", "--demo", "-o", str(tmp_path / name))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(starts)


def test_a_snapshot_that_cannot_be_written_says_where_and_why(tmp_path: Path) -> None:
    done = started("snapshot", "--demo", "-o", str(tmp_path / "none" / "s.json"))
    assert done.returncode == 1
    assert done.stderr == f"kvtop: {tmp_path}/none/s.json: cannot be written: No such file or directory\n"
    both = started("snapshot", "--demo", "--json", "--format", "csv")
    assert both.returncode == 2
    assert "give one of them" in both.stderr


def test_unknown_scenario_names_the_ones_there_are() -> None:
    done = kvtop("snapshot", "--demo", "nowhere")
    assert done.returncode == 2
    assert all(scenario.name in done.stderr for scenario in SCENARIOS)


def test_dashboard_without_a_terminal_is_one_plain_sentence() -> None:
    done = started("--demo")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "snapshot --json" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout


def test_snapshot_never_imports_the_dashboard() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "kvtop", "snapshot", "--demo"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    assert "kvtop.app.frames" in done.stderr
    for library in (
        "textual",
        "pydantic",
        "typing_extensions",
        "httpx2",
        *(("psutil",) if sys.platform == "linux" else ()),
    ):
        assert f" {library}\n" not in done.stderr, library


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


def test_the_configuration_in_force_is_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'theme = "light"\ndiscover = false\n[keys]\nquit = "x"\n[[servers]]\nurl = "http://h:1"\n'
    file = tmp_path / "kvtop.toml"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setenv("KVTOP_CONFIG", str(file))
    printed = kvtop("config").stdout
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
    assert started("snapshot", "--demo", "-o", str(before)).returncode == 0
    done = started("diff", str(before), "live", "--demo", "filling_up", environ={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (1, "")
    assert "\\u2192" in done.stdout


def test_the_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for action in _parser(frozenset())._actions:
        for verb in action.choices or () if action.dest == "verb" else ():
            assert f"kvtop {verb}" in readme


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("snapshto",), "kvtop: error: no command 'snapshto'; did you mean snapshot? (kvtop --help lists them)"),
        (("lint", "--sarf"), "kvtop lint: error: unrecognized arguments: --sarf; did you mean --sarif?"),
        (
            ("lint", "--fail-on", "warn"),
            "invalid choice: 'warn'; did you mean warning? (choose from info, warning, error)",
        ),
        (
            ("--confg", "x", "snapshot"),
            "kvtop snapshot: error: unrecognized arguments: --confg x; did you mean --config?",
        ),
        (("--them", "light", "--confg", "x"), "kvtop: error: unrecognized arguments: --confg; did you mean --config?"),
        (("help", "pln"), "kvtop: error: no command 'pln'; did you mean plan? (kvtop --help lists them)"),
        (("schema", "pln"), "invalid choice: 'pln'; did you mean plan?"),
    ],
)
def test_a_wrong_word_is_complained_of_by_its_verb_with_the_right_one(
    words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    out, err = capsys.readouterr()
    assert (left.value.code, out) == (2, "")
    assert sentence in err.splitlines()[-1]
    own = err.splitlines()[-1].partition(":")[0]
    assert err.startswith(f"usage: {own} ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("explain", "low-bit-key"), "no rule 'low-bit-key'; did you mean low-bit-keys? (`kvtop explain` lists them)"),
        (("snapshot", "--demo", "rtx4090"), "--demo: no scenario 'rtx4090'; did you mean rtx4090_llamacpp? "),
        (("serve", "--theme", "ligt"), "--theme: no theme 'ligt'; did you mean light? (`kvtop themes` lists them)"),
        (("lint", "--ignore", "KVT04"), "--ignore: no rule 'KVT04'; did you mean KVT04"),
    ],
)
def test_a_wrong_name_is_answered_with_the_one_that_was_meant(
    words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert sentence in err


def test_options_stand_before_or_after_the_verb(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("interval_seconds = 7.0\n", encoding="utf-8")
    after = kvtop("config", "--config", str(config))
    assert kvtop("--config", str(config), "config").stdout == after.stdout
    assert "interval_seconds = 7.0" in after.stdout
    assert (
        kvtop("--demo", "cpu_only", "snapshot", "--json").stdout
        == kvtop("snapshot", "--demo=cpu_only", "--json").stdout
    )
    first = json.loads(kvtop("--demo", "snapshot").stdout)
    assert first["host"] == json.loads(kvtop("snapshot", "--demo").stdout)["host"]
    target = tmp_path / "x.kvtop"
    assert kvtop("--demo", "record", "--duration", "1s", str(target)).returncode == 0
    assert target.is_file()


@pytest.mark.parametrize("words", [("-V",), ("--version",), ("plan", "-V"), ("--color", "never", "-V")])
def test_the_version_has_a_short_flag_everywhere(words: tuple[str, ...]) -> None:
    done = started(*words)
    assert (done.returncode, done.stdout.startswith("kvtop "), done.stderr) == (0, True, "")


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_every_verb_has_a_whole_help(verb: str) -> None:
    """A description, examples that begin with its own name, exit codes, and the configuration's place; 80 columns."""
    page = VERBS[[it.name for it in VERBS].index(verb)].load().PAGE
    parser = _parser(frozenset({verb}))
    own = next(action for action in parser._actions if action.dest == "verb").choices[verb]  # type: ignore[index]
    text = own.format_help()
    assert page.description
    assert all(what and command for what, command in page.examples)
    assert any(f"kvtop {verb}" in command for _, command in page.examples)
    assert {0, 2, 70, 130} <= page.exits.keys() or verb == "wrap"
    for heading in ("examples:", "exit codes:", "configuration:"):
        assert f"\n{heading}\n" in text
    assert "config.toml" in text
    assert set(page.variables) <= VARIABLES.keys()


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS if verb.name != "help"])
def test_help_is_that_of_the_verb(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for words in (["help", verb], [verb, "--help"]):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 0
    helped, own = capsys.readouterr().out.split(f"usage: kvtop {verb} ")[1:]
    assert helped == own
    prose = [line for line in own.splitlines() if not line.startswith("  $ ")]
    assert max(map(len, prose)) <= 80


def test_help_alone_is_that_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["help"], ["--help"]):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 0
    helped, own = capsys.readouterr().out.split("usage: kvtop ")[1:]
    assert helped == own


def test_plan_exit_codes(tmp_path: Path) -> None:
    assert started("plan", "--", "frobnicate").returncode == 2
    missing = started("plan", "--gpu", "24GiB", "--", "llama-server", "-m", str(tmp_path / "none.gguf"))
    assert missing.returncode == 2
    assert "none.gguf" in missing.stderr
    refused = started("plan", "--json", "--gpu", "none", "--", "llama-server", "-m", "x.gguf", "-fa", "-c", "4096")
    assert refused.returncode == 3
    assert "unknown value for --flash-attn: '-c'" in json.loads(refused.stdout)["error"]["message"]
    assert "cc=MAJOR.MINOR" in started("plan", "--gpu", "24GiB,x", "--", "llama-server", "-m", "x").stderr


@pytest.mark.parametrize("name", ["x.png", "x.JPG", "snapshot.json.gz"])
def test_a_suffix_of_no_format_is_refused_before_anything_is_looked_at(name: str, tmp_path: Path) -> None:
    target = tmp_path / name
    done = kvtop("snapshot", "--demo", "-o", str(target))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"no format is written as {target.suffix.lower()} (accepted: .json, .txt, .csv" in done.stderr
    assert not target.exists()


def test_a_name_without_a_suffix_is_json(tmp_path: Path) -> None:
    assert kvtop("snapshot", "--demo", "-o", str(tmp_path / "snap")).returncode == 0
    assert json.loads((tmp_path / "snap").read_text(encoding="utf-8"))["schema"] == "kvtop.snapshot/1"


def _on_a_terminal(*words: str, **variables: str) -> str:
    """What a person sees: stdout is the far end of a pseudo-terminal."""
    near, far = pty.openpty()
    environ = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    environ |= {"TERM": "xterm", **variables}
    process = subprocess.Popen([sys.executable, "-m", "kvtop", *words], stdout=far, stderr=subprocess.PIPE, env=environ)
    os.close(far)
    shown = b""
    with suppress(OSError):  # EIO: the program has closed its end
        while chunk := os.read(near, 65536):
            shown += chunk
    process.communicate(timeout=60)
    os.close(near)
    return shown.decode()


def test_a_snapshot_on_a_terminal_is_text_in_colours_and_json_where_asked() -> None:
    shown = _on_a_terminal("snapshot", "--demo")
    assert "\x1b[1mworkstation  " in shown
    assert "├─ " in shown
    assert "\x1b" not in _on_a_terminal("snapshot", "--demo", NO_COLOR="1")
    assert "\x1b" not in _on_a_terminal("snapshot", "--demo", "--color", "never")
    assert json.loads(_on_a_terminal("snapshot", "--demo", "--json"))["schema"] == "kvtop.snapshot/1"


def test_the_exit_code_does_not_depend_on_colours() -> None:
    plain = started("doctor", "--demo", "gpu_lost")
    bright = started("doctor", "--demo", "gpu_lost", "--color", "always")
    assert (plain.returncode, bright.returncode) == (1, 1)
    assert "\x1b[1;31m  FAILED\x1b[0m" in bright.stdout
    assert "\x1b" not in plain.stdout
