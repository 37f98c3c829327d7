"""The ranges of llama.cpp's builds that were checked against the engine, the oldest first, and what differs in each.

A difference stands where it was read: in the sources named, or in the answers under tests/fixtures/oracle.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from kvtop.planning.llamacpp.rules.architectures import ARCHITECTURES
from kvtop.planning.llamacpp.rules.build_rules import BuildRules
from kvtop.planning.llamacpp.rules.traits import ModelTraits
from kvtop.planning.versions import VersionRange, chosen_range, version_numbers

NEWEST = BuildRules()

_Table = Mapping[str, ModelTraits]


def _changed(table: _Table, names: Iterable[str], **changes: Any) -> _Table:  # noqa: ANN401  of any trait
    """A table in which some architectures have other traits."""
    return MappingProxyType({**table, **{name: replace(table[name], **changes) for name in names}})


def _with_own_patterns(table: _Table) -> _Table:
    """`attention.sliding_window_pattern` is not read: the architecture's own pattern, whatever the key says."""
    found = dict(table)
    for name in ("afmoe", "cohere2", "exaone-moe", "gemma3", "olmo2", "plamo3"):
        window = found[name].window
        assert window is not None
        found[name] = replace(found[name], window=replace(window, reads_pattern=False))
    return MappingProxyType(found)


def _june_2026() -> _Table:
    """Batches are of tokens or of embeddings, never of both, and the index of GLM 5 is not used yet."""
    table = _changed(_with_own_patterns(ARCHITECTURES), ARCHITECTURES, takes_mixed_batches=False)
    table = _changed(table, ["glm-dsa"], indexer="")
    # A layer of next-token prediction has a cache, and its biases, which carry no flag, are loaded.
    biases = ("attn_q.bias", "attn_k.bias", "attn_v.bias")
    return _changed(table, ["glm4moe"], cached_layers="all", prediction="never", prediction_tensors=biases)


_JUNE_2026 = _june_2026()

_B9760 = BuildRules(
    checked="b9760",
    build=9760,
    architectures=_JUNE_2026,
    converts_cache_types=False,
    refuses_latent_pairs=False,
    host_copy_types=frozenset({"q6_K"}),
    quantized_values_words="V cache quantization requires flash_attn",
    unfused_values_words=(
        "failed to initialize the context: quantized V cache was requested, but this requires Flash Attention"
    ),
)

_RULES: tuple[tuple[VersionRange, BuildRules], ...] = (
    (VersionRange("b9760", "b9760", "recorded: 5,800 cases under tests/fixtures/oracle/llama.cpp/b9760"), _B9760),
    (VersionRange("b11434", "b11434", "the recorded answers of tests/fixtures/oracle"), NEWEST),
)

VERSIONS = tuple(versions for versions, _ in _RULES)


@lru_cache(maxsize=64)
def rules_for(version: str | None) -> BuildRules:
    """The rules of the range that holds a build, else of the nearest one; of the newest for None.

    What a build knows of options and architectures is asked of its own number.
    """
    chosen = chosen_range(VERSIONS, version)
    rules = next(rules for versions, rules in _RULES if versions == chosen.range)
    numbers = version_numbers(chosen.version)
    return rules if numbers is None or numbers[0] == rules.build else replace(rules, build=numbers[0])
