"""One amount, wherever it is shown: parts sum to their total, and every output says the same of each of them."""

import csv
import io
import json
import re
from collections import defaultdict
from functools import cache

import pytest

from kvtop.analysis.analyse import History, analyse
from kvtop.analysis.planned.live_plan import PlanMemory
from kvtop.analysis.planned.live_what_if import answer, what_if_baseline
from kvtop.domain.answers.plan_answer import PlanAnswer, plan_fits
from kvtop.domain.figure import Basis
from kvtop.domain.frame import DeviceView, Frame, ServerView, Split
from kvtop.domain.memory import Segment
from kvtop.domain.sample import Sample
from kvtop.domain.server import ServerState
from kvtop.sources.demo import SCENARIOS
from kvtop.text import bytes_text
from kvtop.views.bar_parts import device_parts, split_parts
from kvtop.views.export.metrics.exposition import prometheus_text
from kvtop.views.export.metrics.families import server_names
from kvtop.views.export.plan_json import plan_text
from kvtop.views.export.snapshot.as_csv import csv_document
from kvtop.views.export.snapshot.as_html import html_document
from kvtop.views.export.snapshot.as_json import snapshot_text
from kvtop.views.export.snapshot.as_markdown import markdown_document
from kvtop.views.export.snapshot.as_svg import svg_text
from kvtop.views.segment_table import LOOKS, SEGMENT_TABLE, TOTAL
from kvtop.views.text.ledger import ledger_text
from kvtop.views.text.plan_tree import plan_tree
from kvtop.views.tui.screens.server.ledger import ledgers
from kvtop.views.tui.screens.what_if.page import what_if_lines
from kvtop.views.tui.state.history import Trails
from kvtop.views.tui.widgets.server_table import server_rows

SEGMENTS = tuple(segment for segment in Segment if segment is not Segment.OUTPUT)
NAMES = [it.name for it in SCENARIOS]
Amounts = dict[tuple[str, str], dict[str, int | None]]
"""(server, device) -> bytes of the total and of each segment, by the words for programs."""


@cache
def seen(name: str) -> tuple[Sample, Frame, History]:
    scenario = next(it for it in SCENARIOS if it.name == name)
    history = History()
    analyse(history, scenario.at(3.0), "1")
    sample = scenario.at(8.0)
    return sample, analyse(history, sample, "1"), history


def amounts(frame: Frame) -> Amounts:
    return {
        (view.reading.id, split.device_id): {
            TOTAL: split.driver.value_bytes,
            **{segment.value: figure.value_bytes for segment, figure in split.memory.parts},
        }
        for view in frame.servers
        for split in view.splits
    }


def in_json(frame: Frame) -> Amounts:
    document = json.loads(snapshot_text(frame))
    return {
        (server["id"], split["device"]): {
            TOTAL: split["driver_bytes"],
            **{name: segment["bytes"] for name, segment in split["segments"].items()},
        }
        for server in document["servers"]
        for split in server["memory"]
    }


def in_csv(frame: Frame) -> Amounts:
    found: Amounts = defaultdict(dict)
    for row in csv.DictReader(io.StringIO(csv_document(frame))):
        if row["segment"]:
            found[row["server"], row["device"]][row["segment"]] = int(row["bytes"]) if row["bytes"] else None
    return dict(found)


def in_prometheus(frame: Frame) -> Amounts:
    """An unknown amount has no series."""
    ids = {name: server_id for server_id, name in server_names(frame.servers).items()}
    found: Amounts = {key: dict.fromkeys((TOTAL, *(it.value for it in SEGMENTS))) for key in amounts(frame)}
    row = re.compile(r"kvtop_(server_memory_bytes|process_memory_driver_bytes)\{(.*)\} (\S+)")
    for family, text, value in row.findall(prometheus_text(frame)):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', text))
        place = found[ids[labels["server"]], labels["device"]]
        place[labels.get("segment", TOTAL) if family == "server_memory_bytes" else TOTAL] = int(float(value))
    return found


LABELS = {row.label: segment.value for segment, row in SEGMENT_TABLE.items()}


def in_table(rows: list[list[str]], frame: Frame) -> Amounts:
    """Rows of device, segment and bytes, server by server in the order of the frame."""
    found: Amounts = {}
    left = iter(rows)
    for view in frame.servers:
        for split in view.splits:
            place: dict[str, int | None] = {}
            while len(place) < len(SEGMENTS) + 1:
                device, name, size = next(left)
                assert device == split.device_id
                if name != "of it in use":
                    number = size.replace(",", "")
                    place[TOTAL if name == "measured total" else LABELS[name]] = None if number == "?" else int(number)
            found[view.reading.id, split.device_id] = place
            if split.kv_used_bytes is not None and list(place)[-1] == Segment.KV_CACHE.value:
                next(left)
    return found


def in_markdown(frame: Frame) -> Amounts:
    lines = (line.replace("\\", "").replace("*", "") for line in markdown_document(frame).splitlines())
    cells = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| "))
    names = {*LABELS, "measured total", "of it in use"}
    return in_table([row[:3] for row in cells if len(row) >= 5 and row[1] in names], frame)


def in_html(frame: Frame) -> Amounts:
    ledger = "".join(re.findall(r'<table class="ledger">(.*?)</table>', html_document(frame), re.S))
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", ledger)]
    return in_table([row[:3] for row in rows if row], frame)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("read", [in_json, in_csv, in_prometheus, in_markdown, in_html], ids=lambda it: it.__name__)
def test_every_output_says_the_same_amounts(name: str, read: object) -> None:
    _, frame, _ = seen(name)
    assert callable(read)
    assert read(frame) == amounts(frame)


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_of_a_server_on_a_device_sum_to_the_measured_total(name: str) -> None:
    """What is unknown is inside the unattributed rest; without a measured total there is no rest."""
    for place, parts in amounts(seen(name)[1]).items():
        total = parts.pop(TOTAL)
        known = [size for size in parts.values() if size is not None]
        if total is None:
            assert parts[Segment.UNATTRIBUTED.value] is None, place
        else:
            assert sum(known) == total, place


@pytest.mark.parametrize("name", NAMES)
def test_screens_and_terminals_print_the_same_amounts(name: str) -> None:
    _, frame, _ = seen(name)
    text = ledger_text(frame)
    for view in frame.servers:
        screen = ["".join(piece.text for piece in line) for line in ledgers(view, frame, 120)]
        for split in view.splits:
            for segment, figure in split.memory.parts:
                label, size = SEGMENT_TABLE[segment].label, bytes_text(figure.value_bytes)
                if figure.value_bytes == 0:
                    assert re.search(rf"0 B: [^=]*\b{label}\b", " ".join(screen)), label
                    continue
                assert any(re.search(rf"{label} +{re.escape(size)} ", line) for line in screen), (label, size)
                if figure.value_bytes is not None:
                    assert re.search(rf"{label} +{re.escape(size)}  {figure.basis.value}", text), (label, size)
            total = bytes_text(split.driver.value_bytes)
            assert any(re.search(rf"= {TOTAL} +{re.escape(total)} ", line) for line in screen)


def shown(view: DeviceView) -> int:
    return sum(part.size_bytes for part in device_parts(view))


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_of_a_device_sum_to_what_is_used_and_free(name: str) -> None:
    _, frame, _ = seen(name)
    for view in map(frame.with_slices, frame.devices):
        memory = view.device.memory
        if memory.used_bytes is None or memory.free_bytes is None:
            continue
        whole = memory.used_bytes + memory.free_bytes + (memory.reserved_bytes or 0)
        rests = [split.memory.bytes_of(Segment.UNATTRIBUTED) or 0 for _, split in view.splits]
        # Resident sets and plans may exceed what is used: allocated, but not resident, or counted as available.
        assert shown(view) >= whole
        if min(rests, default=0) >= 0 and not view.device.is_host:
            assert shown(view) == whole, view.device.id


@pytest.mark.parametrize("name", NAMES)
def test_pictures_fill_a_bar_with_the_parts_of_its_total(name: str) -> None:
    """Each rectangle is as wide as its share of the device, and says its bytes."""
    _, frame, _ = seen(name)
    drawn = svg_text(frame)
    assert drawn.strip() in html_document(frame)
    rows = [
        *((device_parts(view), view.device.memory.total_bytes) for view in map(frame.with_slices, frame.devices)),
        *((split_parts(view.where_it_lies), None) for view in frame.servers),
    ]
    found = re.findall(r'<rect [^>]*width="([\d.]+)"[^>]*fill="([^"]*)"><title>([^<]*)</title>', drawn)
    colours = {look.label: look.colour for look in LOOKS}
    rest = iter(found)
    for parts, total in rows:
        there = [part for part in parts if part.size_bytes > 0]
        widths = 0.0
        for part in there:
            width, colour, title = next(rest)
            assert title == f"{part.look.label} {bytes_text(part.size_bytes)}"
            assert colour == colours[part.look.label]
            widths += float(width)
        if total is not None and sum(part.size_bytes for part in there) >= total:
            assert widths == pytest.approx(912, abs=0.1)
    assert not list(rest)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_and_a_picture_name_what_a_server_holds_where_it_lies(name: str) -> None:
    _, frame, _ = seen(name)
    drawn = svg_text(frame)
    for view, row in zip(frame.servers, server_rows(frame.servers, Trails()), strict=True):
        held = view.held.value_bytes
        sizes = [split.driver.value_bytes for split in view.splits if split.device_id != "host"]
        sizes = sizes or [split.driver.value_bytes for split in view.splits]
        assert held == (None if not sizes or None in sizes else sum(size or 0 for size in sizes))
        if held is not None:
            assert row.memory == bytes_text(held)
            assert f">{bytes_text(held)}  KV " in drawn


def planned_parts(name: str) -> list[tuple[ServerView, Split]]:
    """Where a server holds what its plan says."""
    _, frame, _ = seen(name)
    states = {ServerState.READY, ServerState.LOCKED}
    views = [view for view in frame.servers if view.plan is not None and view.reading.state in states]
    return [(view, split) for view in views for split in view.splits]


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_sums_to_its_total_and_says_what_attribution_says(name: str) -> None:
    for view, split in planned_parts(name):
        plan = view.plan
        assert plan is not None
        part = plan.device(split.device_id)
        for segment, figure in split.memory.parts if part is not None else ():
            if figure.basis is Basis.COMPUTED and part is not None and segment is not Segment.COMPUTE:
                assert figure.value_bytes == part.memory.bytes_of(segment), (split.device_id, segment)
    for view in seen(name)[1].servers:
        if view.plan is None:
            continue
        answered = PlanAnswer(view.plan, plan_fits(view.plan, {}))
        document = json.loads(plan_text(answered, explain=False))
        text = plan_tree(answered, explain=True)
        for part, row, room in zip(view.plan.devices, document["devices"], answered.rooms, strict=True):
            sizes = {segment: part.memory.bytes_of(segment) for segment, _ in part.memory.parts}
            assert sizes.pop(Segment.COMPUTE) == row["compute_bytes"]["value"]
            assert {f"{segment.value}_bytes": size for segment, size in sizes.items()}.items() <= row.items()
            if part.memory.is_whole and room.pool is None:
                assert room.needed.value_bytes == sum(size or 0 for size in sizes.values()) + (
                    part.memory.bytes_of(Segment.COMPUTE) or 0
                )
            for segment, figure in part.memory.parts:
                if figure.value_bytes:
                    label, size = SEGMENT_TABLE[segment].label, bytes_text(figure.value_bytes)
                    assert re.search(rf"├─ {label} +{re.escape(size)}  ", text), (label, size)
        for key in ("weights", "kv_cache"):
            each = [row[f"{key}_bytes"] for row in document["devices"]]
            whole = None if None in each else sum(each)
            assert document["total"][f"{key}_bytes"] == whole


@pytest.mark.parametrize("name", NAMES)
def test_a_what_if_begins_with_what_is_measured(name: str) -> None:
    """Nothing changed yet: each segment is the one of the Server screen, and their sum is the driver's figure."""
    sample, frame, _ = seen(name)
    for view in frame.servers:
        baseline = what_if_baseline(sample, view, PlanMemory())
        if isinstance(baseline, str) or baseline.base.at_tokens is not None:
            continue
        found = answer(baseline, baseline.base)
        screen = "\n".join("".join(piece.text for piece in line) for line in what_if_lines(found, {}, 100))
        calibrated = {it.device_id for it in view.calibration}
        splits = {it.device_id: it for it in view.splits if it.device_id in calibrated}
        for change in found.comparison.devices:
            for memory in (change.now, change.then):
                if memory.is_whole:
                    assert (memory.known.value_bytes or 0) + change.beyond_bytes == change.needed.value_bytes
            split = splits.get(change.name)
            if split is None or (split.memory.bytes_of(Segment.UNATTRIBUTED) or 0) < 0:
                continue
            for segment, figure in change.now.parts:
                assert figure.value_bytes == split.memory.bytes_of(segment), (view.reading.id, change.name, segment)
                if figure.value_bytes:
                    label, size = SEGMENT_TABLE[segment].label, bytes_text(figure.value_bytes)
                    assert re.search(rf"{label} +{re.escape(size)} ", screen), (label, size)
            assert change.needed.value_bytes == split.driver.value_bytes


def test_what_is_held_through_shared_memory_is_not_unattributed_on_the_host() -> None:
    _, frame, _ = seen("strix_halo")
    host = next(it for it in frame.devices if it.device.is_host)
    card = next(it for it in frame.devices if not it.device.is_host)
    assert host.elsewhere_bytes == card.splits[0][1].driver.value_bytes
    assert host.unaccounted_bytes == 0


def test_each_segment_has_a_row_of_its_own_in_the_one_table() -> None:
    assert list(SEGMENT_TABLE) == list(Segment)
    assert len({row.label for row in SEGMENT_TABLE.values()}) == len(SEGMENT_TABLE)
    assert all(row.look in LOOKS for row in SEGMENT_TABLE.values())
