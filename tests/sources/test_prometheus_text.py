"""Our parser against the reference implementation."""

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from kvtop.sources.endpoints.prometheus_text import parse_metrics


@given(st.text(max_size=30), st.floats(allow_nan=False))
def test_reads_what_the_reference_writes(label: str, value: float) -> None:
    registry = CollectorRegistry()
    Gauge("wanted", "help", ["model"], registry=registry).labels(label).set(value)
    Gauge("unwanted", "help", registry=registry).set(1)
    (sample,) = parse_metrics(generate_latest(registry).decode(), {"wanted"})
    assert (sample.name, sample.labels, sample.value) == ("wanted", (("model", label),), value)


def test_lines_that_are_not_samples_are_skipped() -> None:
    text = '# HELP a x\na\na{ 1\na{x="}"} 2 1700000000\nab 3\na NaN\na nonsense\n'
    samples = parse_metrics(text, {"a"})
    assert [sample.labels for sample in samples] == [(("x", "}"),), ()]
    assert samples[0].value == 2.0
    assert samples[1].value != samples[1].value


def test_a_line_of_megabytes_takes_no_memory() -> None:
    """Matching one took two hundred bytes for each character: 700 MB for a reply of four."""
    text = "a{" + 'b="x",' * 600_000 + "} 1\na 2\n"
    tracemalloc.start()
    try:
        assert [sample.value for sample in parse_metrics(text, {"a"})] == [2.0]
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("piece", ["b", 'b="', 'b=" ', 'b="\\', "b,", "b ", " "])
def test_a_line_that_repeats_itself_takes_no_longer_than_another(piece: str) -> None:
    began = time.process_time()
    parse_metrics("a{" + piece * (1_000_000 // len(piece)) + "} 1", {"a"})
    assert time.process_time() - began < 20
