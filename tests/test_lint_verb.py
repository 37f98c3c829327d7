"""`kvtop lint` and `kvtop explain` from the command line: text, JSON, SARIF, exit codes, suppression."""

import json
from pathlib import Path
from typing import Any

import pytest

from kvtop.analysis.lint.rules import RULES
from kvtop.cli import main

FINDING_KEYS = {"code", "slug", "severity", "subject", "message", "evidence", "cost", "fix"}
COMMAND = ("llama-server", "-m", "missing.gguf", "-c", "8192", "-ctk", "q4_0", "-ctv", "q8_0", "-fa", "on")


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("LLAMA_ARG_FLASH_ATTN", "LLAMA_API_KEY", "VLLM_API_KEY", "KVTOP_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def lint(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["lint", *words])
    out, err = capsys.readouterr()
    return code, out, err


def lint_json(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = lint(capsys, "--json", *words)
    document: dict[str, Any] = json.loads(out)
    return code, document


def test_json_is_findings_and_not_evaluated_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = lint_json(capsys, "--gpu", "24GiB", "--", *COMMAND)
    assert code == 1
    assert document.keys() == {"schema", "findings", "not_evaluated"}
    assert document["schema"] == "kvtop.lint/1"
    assert {it["slug"] for it in document["findings"]} >= {"low-bit-keys", "mixed-cache-types-slow"}
    for finding in document["findings"]:
        assert list(finding) == ["code", "slug", "severity", "subject", "message", "evidence", "cost", "fix"]
        assert finding.keys() == FINDING_KEYS
    for missing in document["not_evaluated"]:
        assert missing.keys() == {"code", "slug", "subject", "reason"}
        assert missing["reason"]
    reasons = {it["slug"]: it["reason"] for it in document["not_evaluated"]}
    assert "missing.gguf" in reasons["mla-cache-types-differ"]


@pytest.mark.parametrize(("level", "code"), [("info", 1), ("warning", 1), ("error", 0)])
def test_the_level_decides_the_exit_code(capsys: pytest.CaptureFixture[str], level: str, code: int) -> None:
    assert lint(capsys, "--fail-on", level, "--gpu", "24GiB", "--", *COMMAND)[0] == code


def test_an_info_does_not_fail_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = lint_json(capsys, "--gpu", "none", "--", "llama-server", "-m", "missing.gguf", "--host", "0.0.0.0")
    assert {it["severity"] for it in document["findings"]} == {"info"}
    assert code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--", "ls", "-l"), "not a command"),
        (("--gpu", "12", "--", *COMMAND), "--gpu '12'"),
        (("--gpu", "24GiB"), "--gpu is for a command"),
        (("--", "vllm", "serve", "x", "--config", "nothing.yaml"), "nothing.yaml"),
    ],
)
def test_bad_usage_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    code, out, err = lint(capsys, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_without_any_server_nothing_could_be_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = lint(capsys, "--demo", "nothing", "--json")
    assert code == 3
    assert json.loads(out) == {"schema": "kvtop.lint/1", "findings": [], "not_evaluated": []}
    assert "no server found" in err


def test_servers_are_linted_like_commands(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = lint_json(capsys, "--demo", "cpu_only", "--fail-on", "info")
    assert code == 1
    assert ("slots-split-context", "127.0.0.1:8081") in {(it["slug"], it["subject"]) for it in document["findings"]}


def test_a_refusal_is_a_finding_in_the_engines_words(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = lint_json(capsys, "--fail-on", "error", "--", "llama-server", "-m", "x.gguf", "--draft-model", "y")
    finding = {it["slug"]: it for it in document["findings"]}["start-refused"]
    assert code == 1
    assert "error: invalid argument: --draft-model" in finding["message"]
    assert "-md" in finding["fix"]


def test_a_bare_flag_does_not_hide_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("llama-server", "-m", "x.gguf", "-ngl", "99", "-fa", "-ctk", "q4_0", "-ctv", "q8_0", "--host", "0.0.0.0")
    _, document = lint_json(capsys, "--", *words)
    slugs = {it["slug"] for it in document["findings"]}
    assert {"bare-flash-attn-flag", "low-bit-keys", "mixed-cache-types-slow", "exposed-without-key"} <= slugs
    assert "start-refused" not in slugs


def test_secrets_reach_no_output(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("llama-server -m x.gguf --api-key hunter2", "vllm serve x --api-key hunter2 --hf-token hunter2"):
        for form in ("--json", "--sarif", "--fail-on=error"):
            code, out, err = lint(capsys, form, "--", *command.split())
            assert "hunter2" not in out + err
            assert "api-key-on-command-line" in out or code


def test_a_whole_command_in_quotes_may_span_lines(capsys: pytest.CaptureFixture[str]) -> None:
    text = "llama-server -m missing.gguf \\\n  -c 32768 \\\n  -np 4  # four users"
    _, document = lint_json(capsys, "--", text)
    assert "slots-split-context" in {it["slug"] for it in document["findings"]}


def test_a_line_of_a_script_is_linted_without_its_shell(capsys: pytest.CaptureFixture[str]) -> None:
    text = 'cd /srv && nohup llama-server -m "$MODEL" -c ${CTX:-8192} -fa --metrics > log 2>&1 &'
    code, document = lint_json(capsys, "--gpu", "24GiB", "--", text)
    assert (code, [it["slug"] for it in document["findings"]]) == (1, ["bare-flash-attn-flag"])


def test_a_variable_without_a_value_is_asked_for_where_it_decides(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "llama-server -m $MODEL -c $CTX -np 4"
    code, out, err = lint(capsys, "--", text)
    assert (code, out) == (2, "")
    assert "$CTX has no value here" in err
    monkeypatch.setenv("CTX", "32768")
    _, document = lint_json(capsys, "--", text)
    assert "slots-split-context" in {it["slug"] for it in document["findings"]}


def test_text_says_what_was_not_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = lint(capsys, "--gpu", "24GiB", "--", *COMMAND)
    assert "warning: low-bit-keys (KVT009)" in out
    assert "not evaluated: needs a running server" in out
    assert out.splitlines()[-1].endswith("not evaluated")


def test_a_suppressed_rule_is_named_with_its_reason(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[[suppress]]\nrule = "low-bit-keys"\nreason = "measured on our prompts"\n')
    _, out, _ = lint(capsys, "--config", str(config), "--gpu", "24GiB", "--", *COMMAND)
    assert "warning: low-bit-keys" not in out
    assert "suppressed: low-bit-keys" in out
    assert "measured on our prompts" in out


def test_a_server_may_be_suppressed_as_a_whole(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[[suppress]]\nserver = "127.0.0.1:8081"\nreason = "a test machine"\n')
    code, document = lint_json(capsys, "--config", str(config), "--demo", "cpu_only")
    assert (code, document["findings"]) == (0, [])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ('rule = "no-such-rule"\nreason = "x"', "no-such-rule"),
        ('rule = "low-bit-keys"\nreason = " "', "suppress.reason"),
        ('rule = "low-bit-keys"', "reason"),
        ('reason = "x"', "name a rule, a server, or both"),
        ('rule = "low-bit-keys"\nreason = "x"\nwhere = "y"', "accepted: reason, rule, server"),
    ],
)
def test_a_bad_suppression_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path, entry: str, words: str) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f"[[suppress]]\n{entry}\n")
    code, _, err = lint(capsys, "--config", str(config), "--", *COMMAND)
    assert code == 2
    assert words in err


def test_sarif_has_the_shape_of_2_1_0(capsys: pytest.CaptureFixture[str]) -> None:
    """Structural, by section 3 of the standard: no package here carries its schema."""
    code, out, _ = lint(capsys, "--sarif", "--gpu", "24GiB", "--", *COMMAND)
    assert code == 1
    log = json.loads(out)
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules) > 40
    assert all(rule["shortDescription"]["text"] and rule["fullDescription"]["text"] for rule in rules)
    assert run["results"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"error", "warning", "note"}
        assert result["message"]["text"]
        assert result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]
        assert all(isinstance(value, str) for value in result["partialFingerprints"].values())
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is True
    for note in invocation["toolExecutionNotifications"]:
        assert note["message"]["text"].startswith("not evaluated: ")
        assert rules[note["associatedRule"]["index"]]["id"] == note["associatedRule"]["id"]


def test_sarif_points_into_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = lint(capsys, "--sarif", "--script", "deploy/start.sh:12", "--", *COMMAND)
    place = json.loads(out)["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "deploy/start.sh"}, "region": {"startLine": 12}}
    _, out, _ = lint(capsys, "--sarif", "--script", "my deploy/start.sh", "--", *COMMAND)
    place = json.loads(out)["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "my%20deploy/start.sh"}, "region": {"startLine": 1}}
    with pytest.raises(SystemExit, match="2"):
        lint(capsys, "--sarif", "--script", "start.sh:0", "--", *COMMAND)


def test_explain_takes_code_and_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "KVT009"]) == 0
    by_code = capsys.readouterr().out
    assert main(["explain", "low-bit-keys"]) == 0
    assert capsys.readouterr().out == by_code
    assert by_code.startswith("KVT009 low-bit-keys\n")
    assert "Why: " in by_code
    assert "Source: " in by_code


def test_explain_lists_all_rules_and_tells_unknown_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [rule.code for rule in RULES]
    assert main(["explain", "KVT999"]) == 2
    assert "KVT999" in capsys.readouterr().err


def test_rules_are_chosen_by_code_or_name(capsys: pytest.CaptureFixture[str]) -> None:
    command = ("--gpu", "24GiB", "--", *COMMAND)
    _, everything = lint_json(capsys, *command)
    code, only = lint_json(capsys, "--select", "KVT009,mixed-cache-types-slow", *command)
    assert (code, {it["slug"] for it in only["findings"]}) == (1, {"low-bit-keys", "mixed-cache-types-slow"})
    assert only["not_evaluated"] == []
    _, rest = lint_json(capsys, "--ignore", "low-bit-keys", "--ignore", "kvt048", *command)
    gone = {it["code"] for it in everything["findings"]} - {it["code"] for it in rest["findings"]}
    assert "KVT009" in gone <= {"KVT009", "KVT048"}
    code, none = lint_json(capsys, "--select", "KVT009", "--ignore", "KVT009", *command)
    assert (code, none["findings"], none["not_evaluated"]) == (3, [], [])


def test_a_chosen_rule_that_could_not_be_asked_is_no_pass(capsys: pytest.CaptureFixture[str]) -> None:
    code, document = lint_json(capsys, "--select", "mla-cache-types-differ", "--gpu", "24GiB", "--", *COMMAND)
    assert code == 3
    assert [it["slug"] for it in document["not_evaluated"]] == ["mla-cache-types-differ"]


def test_the_configuration_chooses_rules_and_the_flags_win(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[lint]\nselect = ["low-bit-keys", "KVT011"]\nignore = ["low-bit-keys"]\n')
    command = ("--config", str(config), "--gpu", "24GiB", "--", *COMMAND)
    code, document = lint_json(capsys, *command)
    assert not {it["slug"] for it in document["findings"]} & {"low-bit-keys", "mixed-cache-types-slow"}
    _, document = lint_json(capsys, "--select", "mixed-cache-types-slow", *command)
    assert {it["slug"] for it in document["findings"]} == {"mixed-cache-types-slow"}
    for text, words in (
        ('select = ["KVT999"]', "lint.select: no rule 'KVT999'"),
        ('ignored = ["x"]', "select, ignore"),
    ):
        config.write_text(f"[lint]\n{text}\n")
        code, _, err = lint(capsys, *command)
        assert (code, words in err) == (2, True)


def test_only_the_named_server_is_linted(capsys: pytest.CaptureFixture[str]) -> None:
    _, everything = lint_json(capsys, "--demo", "mixed_host")
    subjects = {it["subject"] for it in everything["findings"]}
    assert len(subjects) > 1
    for subject in subjects:
        _, document = lint_json(capsys, "--demo", "mixed_host", "--server", subject)
        assert {it["subject"] for it in document["findings"] + document["not_evaluated"]} == {subject}
    code, out, err = lint(capsys, "--demo", "mixed_host", "--server", "127.0.0.1:1")
    assert code == 1
    assert "no server '127.0.0.1:1' is here (there are: " in err
    assert out.startswith("0 errors")
    code, _, err = lint(capsys, "--server", "x", "--", *COMMAND)
    assert (code, err) == (2, "kvtop lint: --server is for running servers, not for a command\n")


def test_an_option_of_kvtop_behind_the_dashes_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = lint(capsys, "--", "llama-server", "-m", "missing.gguf", "-c", "512", "--sarif")
    assert code == 1
    assert "error: invalid argument: --sarif" in out
    assert err == "kvtop: --sarif is an option of kvtop: put it before the --\n"
