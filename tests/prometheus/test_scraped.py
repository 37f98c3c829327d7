"""The exporter under a real Prometheus, with our alert rules and the queries of our Grafana dashboard."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "docs" / "grafana" / "kvtop-alerts.yml"
DASHBOARD = ROOT / "docs" / "grafana" / "kvtop-dashboard.json"
RULE_TESTS = ROOT / "tests" / "fixtures" / "prometheus" / "kvtop-alerts-test.yml"


def panels() -> list[dict[str, Any]]:
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    listed: list[dict[str, Any]] = document["panels"]
    return listed


def test_a_real_prometheus_scrapes_it_and_evaluates_rules_and_panels(
    start_prometheus: Callable[..., Any], start_exporter: Callable[[str], str]
) -> None:
    prometheus = start_prometheus({"kvtop": [start_exporter("mixed_host")]}, rules=(RULES,))
    prometheus.wait_for("kvtop_build_info")
    (target,) = prometheus.api("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    explained = prometheus.wait_for("sum by (server) (kvtop_server_memory_bytes)")
    driver = {
        it["metric"]["server"]: it["value"][1]
        for it in prometheus.query("sum by (server) (kvtop_process_memory_driver_bytes)")
    }
    assert explained
    agreeing = [it for it in explained if driver.get(it["metric"]["server"]) == it["value"][1]]
    assert agreeing, "segments add up to the driver's number"
    units = {unit for it in prometheus.api("metadata").values() for unit in [it[0]["unit"]]}
    assert {"bytes", "tokens", "ratio"} <= units, "scraped as OpenMetrics"
    for group in prometheus.api("rules")["groups"]:
        assert len(group["rules"]) == 8
        for rule in group["rules"]:
            assert rule["health"] in {"ok", "unknown"}, rule.get("lastError")
    filled = 0
    for panel in panels():
        for query in panel["targets"]:
            expression = query["expr"].replace("$instance", ".*").replace("$server", ".*")
            filled += bool(prometheus.query(expression))
    assert filled >= len(panels()) - 1, "a host without findings leaves one panel empty"


def test_every_series_of_the_rules_and_panels_exists() -> None:
    source = (ROOT / "kvtop" / "views" / "export" / "metrics" / "families.py").read_text(encoding="utf-8")
    used = set(re.findall(r"kvtop_(\w+)", RULES.read_text(encoding="utf-8") + DASHBOARD.read_text(encoding="utf-8")))
    for name in used - {"build_info", "server_info"}:
        assert f'"{name}"' in source, name


def test_promtool_accepts_and_passes_the_rules(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    for file in (RULES, RULE_TESTS):
        shutil.copy(file, tmp_path)
    for words in (("check", "rules", RULES.name), ("test", "rules", RULE_TESTS.name)):
        done = subprocess.run(
            [promtool, *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240
        )
        assert done.returncode == 0, done.stdout + done.stderr
