"""Patterns of `-ot`: what people write is matched, what takes for ever has no plan."""

import re
import time
from contextlib import suppress

import pytest

from kvtop.domain.plan import NoExactRuleError, PlanDevice, Refusal
from kvtop.planning.llamacpp.memory.override_patterns import first_match, searcher
from kvtop.planning.llamacpp.options.parse import parse_llama_server
from kvtop.planning.registry import plan_launch
from tests.oracle.cases import load_architectures

CARD = (PlanDevice("gpu0", 1 << 34),)
NAMES = [
    "token_embd.weight",
    "output.weight",
    *(f"blk.{layer}.{part}.weight" for layer in (0, 7, 18, 31) for part in ("attn_q", "ffn_up", "ffn_down_exps")),
]
WRITTEN = [
    *(r".*ffn_.*_exps.*", r"\.ffn_(up|down|gate)_exps\.", r"blk\.(1[0-9]|2[0-9]|3[0-5])\.ffn_.*_exps\."),
    *(r"^blk\.\d+\.attn", r"blk\.(0|7|18|19|20|21|22|23|24|25|26|27|28|29|30|31)\.", r"exps", r".*", r"blk\.[0-9]+?\."),
    *(r"blk\.(?:[0-9]|1[0-8])\.(ffn|attn)_[a-z]+", r"(token_embd|output)\.weight$", r"a|.*exps|b.*", r"\..*up"),
]
ENDLESS = [
    *("(([a-z0-9._])+)+!", "(a|a)*b", "(.*)*x", "(.*a){20}", "(x+x+)+y", "(a?){40}a", "[a-z]*[a-z]*[a-z]*[a-z]*!"),
    *("a{1,1000}b{1,1000}c{1,1000}d", r"(a|b)\1", "(?=(a+))b", "(" * 2000, "a" * 5000, "a{99999999999}", "[", "(", "*"),
]


@pytest.mark.parametrize("pattern", WRITTEN)
def test_what_people_write_is_found_as_a_search_finds_it(pattern: str) -> None:
    found = {name for name in NAMES if first_match([(searcher([pattern]), "CPU")], name)}
    assert found == {name for name in NAMES if re.search(pattern, name)}


@pytest.mark.parametrize("pattern", ENDLESS, ids=lambda it: it[:24])
def test_what_takes_for_ever_has_no_plan(pattern: str) -> None:
    header = load_architectures()[0]["llama-dense"]
    options = parse_llama_server(["-m", "x", "--fit", "off", "-ot", f"{pattern.replace(',', '')}=CPU"], {}, [])
    before = time.process_time()
    with pytest.raises(NoExactRuleError, match="tensor override"):
        searcher([pattern])
    with suppress(NoExactRuleError):
        plan_launch(options, header, CARD)
    assert time.process_time() - before < 5


@pytest.mark.parametrize("flag", ["-ncmoe", "-ncffn"])
def test_more_layers_on_the_host_than_there_are_cost_nothing(flag: str) -> None:
    header = load_architectures()[0]["qwen3moe-moe"]

    def planned(layers: str) -> object:
        options = parse_llama_server(["-m", "x", "--fit", "off", flag, layers], {}, [])
        return plan_launch(options, header, CARD)

    before = time.process_time()
    assert planned("2000000000") == planned("512")
    assert not isinstance(planned("512"), Refusal)
    assert time.process_time() - before < 10
