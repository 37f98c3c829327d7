"""The names that `--gpu` takes: what people own, each with the total that its API reports."""

import json

import pytest

from kvtop.cli import main
from kvtop.planning.gpus.catalogue import known_gpus
from kvtop.planning.gpus.other_table import metal_mib
from kvtop.planning.gpus.products import ALIASES, PRODUCTS
from kvtop.planning.gpus.specs import find_product, parse_gpu_specs

MIB = 2**20
IN_REPORTS = (
    "GTX 1650, RTX 2080, RTX 3060 Laptop, RTX 4060 Laptop, RTX 5070 Laptop, GB10, DGX Spark, B300, GB200, GB300, Thor, "
    "AGX Orin, Orin Nano, RTX PRO 4000, RTX PRO 5000, RTX 4500 Ada, A16, MI50, MI355X, RX 5700 XT, Radeon VII, "
    "Radeon 8060S, Strix Halo, Pro V620, Arc A770, Arc Pro B70, Apple M1 Pro, Apple M3 Max, Apple M5, M4 Max"
)
"""Of public logs of llama.cpp, Ollama and vLLM, December 2025 to October 2026."""


@pytest.mark.parametrize("name", IN_REPORTS.split(", "))
def test_the_cards_of_public_reports_are_known(name: str) -> None:
    assert find_product(name) is not None


def test_the_api_never_reports_more_than_the_driver_and_never_much_less() -> None:
    for name, product in PRODUCTS.items():
        assert 0 < product.api_total_bytes <= product.total_bytes, name
        if product.compute_api != "metal":
            assert product.api_total_bytes > product.total_bytes * 0.9, name
        assert product.source, name
    assert ALIASES.keys().isdisjoint(PRODUCTS)


@pytest.mark.parametrize(
    ("spec", "totals_mib"),
    [
        ("RTX 4070", [11866]),
        ("NVIDIA GeForce RTX 4060 Laptop GPU", [7815]),
        ("2x24GiB", [24576] * 2),
        ("8xH200", [143073] * 8),
        ("2 x RTX 3090,free=20GiB", [24123] * 2),
        ("4xM4 Max 128GB", [98304] * 4),
        ("NVIDIA A100-SXM4-40GB", [40336]),
        ("RTX 3080 20GB", [20080]),
    ],
)
def test_a_spec_may_count_and_size_its_devices(spec: str, totals_mib: list[int]) -> None:
    devices = parse_gpu_specs([spec])
    assert [it.total_bytes for it in devices] == [size * MIB for size in totals_mib]
    assert [it.name for it in devices] == [f"gpu{number}" for number in range(len(totals_mib))]


@pytest.mark.parametrize("spec", ["0x24GiB", "1025xH100", "99999999999xH100", "x24GiB", "2x", "2x2xH100"])
def test_a_count_that_is_none_is_named(spec: str) -> None:
    with pytest.raises(ValueError, match="--gpu") as caught:
        parse_gpu_specs([spec])
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("memory_gib", "logged_mib"), [(16, 10922), (48, 36863), (64, 49151), (128, 98303)])
def test_metals_share_is_that_of_public_logs(memory_gib: int, logged_mib: int) -> None:
    assert 0 <= metal_mib(memory_gib * 1024) - logged_mib <= 1


def test_the_verb_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpus"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in PRODUCTS)
    assert main(["gpus", "--json", "spark"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["gpus"]
    assert (row["name"], row["aliases"], row["compute_capability"]) == ("GB10", ["DGX Spark"], "12.1")
    assert main(["gpus", "voodoo"]) == 1
    assert "voodoo" in capsys.readouterr().err
    assert len(known_gpus()) == len(PRODUCTS)
