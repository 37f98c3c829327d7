"""Misconfigured starts of the real llama-server b11434: what the rule says and what the engine does, side by side."""

import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kvtop.analysis.lint.linting import lint
from kvtop.app.plan.lint_target import read_target
from kvtop.app.plan.request import PlanRequest
from kvtop.domain.frame import Finding
from kvtop.planning.commands.command import parse_command

pytestmark = pytest.mark.engines
MIB = 1024 * 1024


@pytest.fixture(scope="session")
def places() -> tuple[Path, Path]:
    """The server and its model."""
    cache = Path(os.environ.get("KVTOP_ENGINES", Path.home() / ".cache" / "kvtop"))
    return cache / "llama.cpp-b11434" / "bin" / "llama-server", cache / "models" / "gemma-3-270m-q4_k_m.gguf"


def found(places: tuple[Path, Path], *options: str, environ: Mapping[str, str] | None = None) -> dict[str, Finding]:
    """Findings by slug of the command as it would be typed, on this machine without an accelerator."""
    server, model = places
    command = parse_command([str(server), "-m", str(model), *options])
    return {
        it.slug: it
        for it in lint(read_target(PlanRequest(command, ("none",), environ={"HOME": "/", **(environ or {})}))).findings
    }


def refused(places: tuple[Path, Path], *options: str) -> tuple[int, str]:
    """Exit code and output of a start that is expected to fail."""
    server, model = places
    done = subprocess.run(
        [str(server), "-m", str(model), "--port", "0", *options],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "slug", "words"),
    [
        (
            ("-ctv", "q8_0", "-fa", "off"),
            "quantized-v-without-flash-attention",
            "quantized V cache requires flash_attn to be enabled",
        ),
        (("-fa", "-c", "4096"), "bare-flash-attn-flag", "unknown value for --flash-attn: '-c'"),
        (("-c", "4096", "--flash-attn"), "bare-flash-attn-flag", "expected value for argument"),
        (("-ctk", "q6_k"), "unsupported-cache-type", "Unsupported cache type: q6_k"),
        (("--draft-model", "x.gguf"), "start-refused", "invalid argument: --draft-model"),
        (("-np", "0"), "start-refused", "invalid value for n_parallel"),
    ],
)
def test_an_error_is_a_start_that_fails_in_these_words(
    places: tuple[Path, Path], options: tuple[str, ...], slug: str, words: str
) -> None:
    finding = found(places, *options)[slug]
    assert finding.severity == "error"
    assert words in f"{finding.message} {finding.evidence}"
    code, output = refused(places, *options)
    assert code != 0
    assert words in output


def _reply(url: str, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}{path}", timeout=60) as reply:
        document: dict[str, Any] = json.load(reply)
    return document


def _bytes(finding: Finding) -> int:
    match = re.search(r"\((\d+) bytes\)", finding.cost)
    assert match is not None, finding.cost
    return int(match[1])


def test_a_context_beyond_training_is_capped_and_paid_for(
    places: tuple[Path, Path], llama_server: Callable[..., Any]
) -> None:
    options = ("-c", "65536", "-np", "1")
    finding = found(places, *options)["context-beyond-training"]
    server = llama_server(*options, verbose=True)
    assert _reply(server.url, "/props")["default_generation_settings"]["n_ctx"] == 32768
    assert "capping" in server.log.read_text(errors="replace")
    more = server.logged_mib("KV") + server.logged_mib("compute")
    usual = llama_server("-c", "32768", "-np", "1", verbose=True)
    less = usual.logged_mib("KV") + usual.logged_mib("compute")
    # Compute is an estimate; the cache is exact.
    assert _bytes(finding) == pytest.approx((more - less) * MIB, rel=0.02)


def test_slots_divide_the_context(places: tuple[Path, Path], llama_server: Callable[..., Any]) -> None:
    options = ("-c", "8192", "-np", "4")
    finding = found(places, *options)["slots-split-context"]
    props = _reply(llama_server(*options).url, "/props")
    assert props["total_slots"] == 4
    assert f"{props['total_slots']} slots has {props['default_generation_settings']['n_ctx']} tokens" in finding.message


def test_a_context_with_a_unit_is_its_digits_alone(places: tuple[Path, Path], llama_server: Callable[..., Any]) -> None:
    finding = found(places, "-c", "8k")["context-shrunk"]
    assert _reply(llama_server("-c", "8k").url, "/props")["default_generation_settings"]["n_ctx"] == 256
    assert "8 tokens, rounded up to 256, not 8192" in finding.message


def test_default_slots_multiply_the_window_by_the_bytes_of_the_finding(
    places: tuple[Path, Path], llama_server: Callable[..., Any]
) -> None:
    finding = found(places, "-c", "8192")["slots-multiply-window"]
    four = llama_server("-c", "8192", verbose=True).logged_mib("KV")
    one = llama_server("-c", "8192", "-np", "1", verbose=True).logged_mib("KV")
    assert _bytes(finding) / MIB == pytest.approx(four - one, abs=0.02)


def test_full_windows_cost_the_bytes_of_the_finding(
    places: tuple[Path, Path], llama_server: Callable[..., Any]
) -> None:
    finding = found(places, "-c", "16384", "--swa-full")["swa-full-waste"]
    full = llama_server("-c", "16384", "--swa-full", verbose=True)
    usual = llama_server("-c", "16384", verbose=True)
    both = [server.logged_mib("KV") + server.logged_mib("compute") for server in (full, usual)]
    assert _bytes(finding) == pytest.approx((both[0] - both[1]) * MIB, rel=0.02)


def test_without_flash_attention_the_scores_take_memory(
    places: tuple[Path, Path], llama_server: Callable[..., Any]
) -> None:
    finding = found(places, "-c", "32768", "-fa", "off", "-np", "1")["flash-attention-off"]
    off = llama_server("-c", "32768", "-fa", "off", "-np", "1", verbose=True).logged_mib("compute")
    on = llama_server("-c", "32768", "-np", "1", verbose=True).logged_mib("compute")
    assert off > on
    assert _bytes(finding) == pytest.approx((off - on) * MIB, rel=0.1)


def test_rotation_is_really_off(places: tuple[Path, Path], llama_server: Callable[..., Any]) -> None:
    environ = {"LLAMA_ATTN_ROT_DISABLE": "1"}
    options = ("-c", "4096", "-ctk", "q8_0", "-ctv", "q8_0")
    assert "rotation-disabled" in found(places, *options, environ=environ)
    assert "rotation-disabled" not in found(places, *options)
    log = llama_server(*options, environ=environ, verbose=True).log.read_text(errors="replace")
    assert "attention rotation force disabled" in log


def test_metrics_are_off(places: tuple[Path, Path], llama_server: Callable[..., Any]) -> None:
    assert "metrics-disabled" in found(places, "-c", "4096", "--no-slots")
    with pytest.raises(urllib.error.HTTPError, match="501"):
        _reply(llama_server("-c", "4096").url, "/metrics")
    assert "metrics-disabled" not in found(places, "-c", "4096")


def test_a_draft_has_a_cache_of_its_own(places: tuple[Path, Path], llama_server: Callable[..., Any]) -> None:
    options = ("-md", str(places[1]), "-c", "4096", "-ctk", "q8_0", "-ctv", "q8_0")
    finding = found(places, *options)["draft-cache-uncounted"]
    assert finding.severity == "warning"
    server = llama_server(*options, verbose=True)
    log = server.log.read_text(errors="replace")
    sizes = re.findall(r"llama_kv_cache: size =\s+([\d.]+) MiB .*?K \(f16\)", log)
    assert sum(map(float, sizes[-2:])) == pytest.approx(_bytes(finding) / MIB, abs=0.05), sizes
