"""Every format of every scenario, read back by somebody else's reader."""

import csv
import io
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample

from kvtop.analysis.analyse import History, analyse
from kvtop.domain.figure import Basis
from kvtop.domain.frame import Frame
from kvtop.domain.headroom import Disagreement
from kvtop.domain.memory import Segment
from kvtop.sources.demo import SCENARIOS, Scenario
from kvtop.views.export.metrics.exposition import openmetrics, prometheus_text
from kvtop.views.export.metrics.families import families
from kvtop.views.export.snapshot.formats import FORMATS, render


def parse_openmetrics(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]  # the library has no types


SVG = "{http://www.w3.org/2000/svg}"
FORBIDDEN = [*map(chr, (*range(9), *range(11, 13), *range(14, 32), *range(0x7F, 0xA0)))] + list(
    "\u202e\u2066\u200b\ufeff\ud800"
)


def frame_of(scenario: Scenario) -> Frame:
    history = History()
    analyse(history, scenario.at(7.0), "1.2.3")
    return analyse(history, scenario.at(8.0), "1.2.3")


scenarios = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda it: it.name)


@scenarios
def test_a_csv_row_for_every_server_device_and_segment(scenario: Scenario) -> None:
    frame = frame_of(scenario)
    rows = list(csv.DictReader(io.StringIO(render(frame, "csv"))))
    expected = {
        (view.reading.id, split.device_id, segment)
        for view in frame.servers
        for split in view.splits
        for segment in ("total", *(it.value for it, _ in split.memory.parts))
    }
    assert {(row["server"], row["device"], row["segment"]) for row in rows if row["segment"]} == expected
    for view in frame.servers:
        for split in view.splits:
            own = {
                row["segment"]: row
                for row in rows
                if (row["server"], row["device"]) == (view.reading.id, split.device_id)
            }
            total = own.pop("total")["bytes"]
            assert not total or sum(int(row["bytes"] or 0) for row in own.values()) == int(total)
            assert all((row["bytes"] == "") == (row["basis"] == "unknown") for row in own.values())


@scenarios
def test_metrics_are_read_back_and_unknown_is_left_out(scenario: Scenario) -> None:
    frame = frame_of(scenario)
    listed = families(frame)
    in_text = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parse_text(prometheus_text(frame))
        for sample in family.samples
    }
    in_openmetrics = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parse_openmetrics(openmetrics(listed))
        for sample in family.samples
    }
    assert in_text == in_openmetrics
    known = sum(len(family.rows) for family in listed)
    assert len(in_text) == known > 0
    assert not any("pid" in name for name, _ in (pair for key in in_text for pair in key[1:]))
    for view in frame.servers:
        label = ("server", view.reading.id)
        has_ratio = any(key[0] == "kvtop_kv_cache_used_ratio" and label in key for key in in_text)
        assert has_ratio == (view.kv_cache.used_ratio is not None)


@scenarios
def test_the_older_words_say_the_same(scenario: Scenario) -> None:
    """The deprecated series stands beside the new one for a version: the same bytes, segment by segment."""
    frame = frame_of(scenario)
    old_words = {"recurrent_state": "state", "runtime": "overhead"}
    new = {
        (it.labels["server"], it.labels["device"], old_words.get(it.labels["segment"], it.labels["segment"])): it.value
        for it in _samples(frame, "kvtop_server_memory_bytes")
    }
    old = {
        (it.labels["server"], it.labels["device"], it.labels["segment"]): it.value
        for it in _samples(frame, "kvtop_process_memory_bytes")
    }
    assert new == old
    words = {it.labels["segment"] for it in _samples(frame, "kvtop_server_memory_bytes")}
    assert words <= {segment.value for segment in Segment}
    assert {it.labels["basis"] for it in _samples(frame, "kvtop_server_memory_bytes")} <= {it.value for it in Basis}
    if new:
        assert "# HELP kvtop_process_memory_bytes Deprecated: kvtop_server_memory_bytes" in prometheus_text(frame)


@scenarios
def test_promtool_accepts_the_metrics(scenario: Scenario) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    text = prometheus_text(frame_of(scenario))
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=240
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@scenarios
def test_the_picture_shows_every_device_and_server(scenario: Scenario) -> None:
    frame = frame_of(scenario)
    root = ElementTree.fromstring(render(frame, "svg"))
    shown = " ".join(text for element in root.iter(f"{SVG}text") for text in element.itertext())
    assert all(view.device.id in shown for view in frame.devices)
    assert all(view.reading.id in shown for view in frame.servers)
    width = float(root.get("width", "0"))
    for bar in root.iter(f"{SVG}rect"):
        assert float(bar.get("x", "0")) + float(bar.get("width", "0")) <= width + 0.01
        assert float(bar.get("width", "0")) >= 0


@scenarios
def test_markdown_tables_are_tables(scenario: Scenario) -> None:
    check_tables(render(frame_of(scenario), "markdown"))


def check_tables(text: str) -> None:
    columns = 0
    for line in text.splitlines():
        if not line.startswith("|"):
            columns = 0
            continue
        cells = line.replace("\\\\", "").replace("\\|", "").count("|")
        assert columns in {0, cells}, line
        columns = cells


def test_markdown_says_what_an_issue_needs() -> None:
    text = render(frame_of(SCENARIOS[0]), "markdown")
    for word in (
        "workstation",
        "b11434",
        "kvtop 1.2.3",
        "| `cache-type-k` | `q8_0` | argv -ctk |",
        "measured total",
        "15736619776",
        "estimated, ",
    ):
        assert word in text


@pytest.mark.parametrize("name", FORMATS)
def test_hostile_texts_are_harmless_in_every_format(name: str, hostile_frame: Frame) -> None:
    text = render(hostile_frame, name)
    assert len(text) < 40_000
    assert not [hex(ord(character)) for character in FORBIDDEN if character in text]
    text.encode("utf-8")


def test_a_spreadsheet_finds_no_formula(hostile_frame: Frame) -> None:
    for row in csv.reader(io.StringIO(render(hostile_frame, "csv"))):
        for cell in row:
            assert not cell.startswith(("=", "+", "@", "\t")), cell
            assert not cell.startswith("-") or cell[1:].isdigit(), cell


def test_hostile_labels_stay_in_their_quotes(hostile_frame: Frame) -> None:
    names = {sample.name for family in parse_text(prometheus_text(hostile_frame)) for sample in family.samples}
    assert all(name.startswith("kvtop_") for name in names)
    assert len(list(parse_openmetrics(openmetrics(families(hostile_frame))))) == len(families(hostile_frame))


def test_series_say_where_a_server_runs() -> None:
    frame = frame_of(next(it for it in SCENARIOS if it.name == "containers"))
    places: dict[str, set[tuple[str | None, ...]]] = {}
    for family in parse_text(prometheus_text(frame)):
        for sample in family.samples:
            if "server" in sample.labels:
                found = tuple(sample.labels.get(name) for name in ("namespace", "pod", "container"))
                places.setdefault(sample.labels["server"], set()).add(found)
    assert places == {
        "172.17.0.2:8000": {(None, None, "chat")},
        "10.88.0.4:8080": {(None, None, None)},  # its name is unknown, and an id is new with every start
        "10.42.0.19:8080": {("models", "gemma-0", "server")},
    }
    formats = {it.labels["engine"]: it.labels["model_format"] for it in _samples(frame, "kvtop_server_info")}
    assert formats == {"vllm": "safetensors", "llama.cpp": "gguf"}
    assert {it.labels["source"]: it.value for it in _samples(frame, "kvtop_source_up")} == {"nvml": 1, "proc": 1}


def _samples(frame: Frame, name: str) -> list[Sample]:
    return [it for family in parse_text(prometheus_text(frame)) for it in family.samples if it.name == name]


def test_names_that_are_shown_alike_are_one_series() -> None:
    frame = frame_of(SCENARIOS[0])
    (server,) = frame.servers
    twin = replace(server, reading=replace(server.reading, id="x\x00"))
    other = replace(server, reading=replace(server.reading, id="x\x01"))
    text = prometheus_text(replace(frame, servers=(twin, other)))
    assert text.count("kvtop_server_up{") == 1


def test_hostile_cells_do_not_break_markdown(hostile_frame: Frame) -> None:
    text = render(hostile_frame, "markdown")
    check_tables(text)
    assert "\nowned" not in text


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


@pytest.mark.parametrize("name", ["html", "svg"])
def test_hostile_texts_add_no_element(name: str, hostile_frame: Frame) -> None:
    reader = _Tags()
    reader.feed(render(hostile_frame, name))
    assert not {"script", "img"} & {tag for tag, _ in reader.seen}
    assert not [attribute for _, attributes in reader.seen for attribute in attributes if attribute.startswith("on")]
    if name == "svg":
        ElementTree.fromstring(render(hostile_frame, name))


def test_a_browser_shows_the_page_and_runs_nothing(hostile_frame: Frame, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium to show the page in (Debian package chromium)")
    for name, frame in (("plain", frame_of(SCENARIOS[0])), ("hostile", hostile_frame)):
        page = tmp_path / f"{name}.html"
        page.write_text(render(frame, "html"), encoding="utf-8")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        done = subprocess.run(
            [*command, "--dump-dom", page.as_uri()],
            capture_output=True,
            text=True,
            check=True,
            timeout=240,
            errors="replace",
        )
        assert "Refused to" not in done.stderr
        assert "<title>owned" not in done.stdout
        assert "<script" not in done.stdout
        reader = _Tags()
        reader.feed(done.stdout)
        tags = [tag for tag, _ in reader.seen]
        assert tags.count("svg") == 1
        assert tags.count("table") >= 4
        assert not {"img", "link", "iframe"} & set(tags)


def test_sources_that_disagree_are_in_every_document() -> None:
    frame = frame_of(SCENARIOS[0])
    wrong = Disagreement("kv_cache", "gpu0", 1_500, 1_000, 1, "its log")
    told = replace(frame, servers=(replace(frame.servers[0], disagreements=(wrong,)),))
    for name in ("json", "markdown", "html"):
        shown = render(told, name)
        assert "1500" in shown
        assert "1000" in shown
    assert 'kvtop_estimate_error_ratio{server="127.0.0.1:8080",segment="kv_cache"} 0.5' in render(told, "prometheus")
    assert "estimate_error_ratio" not in render(frame, "prometheus")
