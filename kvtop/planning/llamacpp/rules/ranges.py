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

_EARLIER = _changed(_JUNE_2026, ARCHITECTURES, normalises_before_narrowing=False)
"""Nothing is kept for a prediction head (`t_h_nextn`)."""

_B9294 = replace(
    _B9760,
    checked="b9294",
    build=9294,
    architectures=_EARLIER,
    limits_outputs=False,
    casts_masks=True,
    converts_in_buffer=False,
    knows_graphs=False,
)
"""Before `n_outputs_max` outputs of every token of a micro-batch are reserved (`graph_reserve(n_tokens, n_seqs,
n_tokens)`)."""

_WITHOUT_ROTATION = replace(_B9294, checked="b8156", build=8156, rotates_caches=False)
"""Before #21038 (between b8156 and b8672)."""

_B7964 = replace(_WITHOUT_ROTATION, checked="b7964", build=7964, repeats_hybrid_cells=True)

_LATENT = tuple(name for name, traits in ARCHITECTURES.items() if traits.latent)
_B7710 = replace(
    _B7964,
    takes_embeddings=False,
    checked="b7710",
    build=7710,
    architectures=_changed(_EARLIER, _LATENT, caches_latent_values=True),
)
"""Before #19057 (between b7710 and b7964): latent attention keeps values beside its keys."""

_B7079 = replace(
    _B7710, checked="b7079", build=7079, fits=False, ctx_by_default_tokens=4096, one_slot_is_automatic=True
)
"""Before `--fit` (#16653, between b7376 and b7710)."""

_B6900 = replace(
    _B7079, checked="b6900", build=6900, automatic_slots=1, one_slot_is_automatic=False, cell_padding="never"
)
"""Before four slots (#16736); rounding had left the caches (#16812) and was not in the context yet."""

_B6451 = replace(_B6900, checked="b6451", build=6451, cell_padding="by_flash_attention")

_B6123 = replace(_B6451, checked="b6123", build=6123, flash_attention_by_default="off", gpu_layers_by_default=0)
"""Before #15434 (b6325)."""

_B5671 = replace(_B6123, checked="b5671", build=5671, has_streams=False)
"""Before #14363 was switched on (between b5937 and b6123)."""

_B5456 = replace(_B5671, checked="b5456", build=5456, window_cells="batch")
"""Before #13833."""

_B5353 = replace(_B5456, checked="b5353", build=5353, window_cells="all")
"""Before #13194."""

_WHEEL = "recorded: real servers of both ends under tests/fixtures/oracle/llama_server"
_RULES: tuple[tuple[VersionRange, BuildRules], ...] = (
    (VersionRange("b5353", "b5353", _WHEEL), _B5353),
    (VersionRange("b5456", "b5456", _WHEEL), _B5456),
    (VersionRange("b5671", "b5937", _WHEEL), _B5671),
    (VersionRange("b6123", "b6301", _WHEEL), _B6123),
    (VersionRange("b6451", "b6751", _WHEEL), _B6451),
    (VersionRange("b6900", "b6900", _WHEEL), _B6900),
    (VersionRange("b7079", "b7376", _WHEEL), _B7079),
    (VersionRange("b7710", "b7710", _WHEEL), _B7710),
    (VersionRange("b7964", "b7964", _WHEEL), _B7964),
    (VersionRange("b8156", "b8156", _WHEEL), _WITHOUT_ROTATION),
    (VersionRange("b8672", "b9294", _WHEEL), _B9294),
    (
        VersionRange("b9538", "b10068", f"{_WHEEL}, and 5,800 cases under tests/fixtures/oracle/llama.cpp/b9760"),
        _B9760,
    ),
    (VersionRange("b11434", "b11549", f"the recorded answers of tests/fixtures/oracle, and {_WHEEL}"), NEWEST),
)

VERSIONS = tuple(versions for versions, _ in _RULES)


@lru_cache(maxsize=64)
def rules_for(version: str | None, borrowed: tuple[tuple[str, str], ...] = ()) -> BuildRules:
    """The rules of the range that holds a build, else of the nearest one; of the newest for None.

    What a build knows of options and architectures is asked of its own number. `borrowed`: rules by name that are
    another build's.
    """
    if borrowed:
        own = rules_for(version)
        mixed: BuildRules = replace(own, **{name: getattr(rules_for(other), name) for name, other in borrowed})
        return mixed
    chosen = chosen_range(VERSIONS, version)
    rules = next(rules for versions, rules in _RULES if versions == chosen.range)
    numbers = version_numbers(chosen.version)
    if numbers is None or numbers[0] == rules.build:
        return rules
    return replace(rules, build=numbers[0], checked=f"b{numbers[0]}" if chosen.is_checked else rules.checked)
