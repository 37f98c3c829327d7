"""Evidence carries its provenance, contradicted claims never stand alone, and nothing measured is said to be so."""

import itertools

import pytest

from kvtop.analysis.evidence import METRICS, evidence_for, library, measurements_of
from kvtop.domain.answers.evidence import Match, Measurement, Tier
from kvtop.planning.cache_types import CACHE_TYPES
from kvtop.views.text.recommendation_text import quality_lines


def test_every_figure_says_where_it_is_from() -> None:
    assert len(library()) == 149
    for figure in library():
        assert figure.model
        assert figure.source
        assert figure.value is not None or figure.text
        assert figure.rotation in {"on", "off", "unknown"}
        assert not figure.url or figure.url.startswith("https://")


def test_unverified_claims_are_contradicted_and_never_among_the_measurements() -> None:
    claims = [figure for figure in library() if figure.tier is Tier.UNVERIFIED and figure.metric in METRICS]
    assert {(it.type_k, it.type_v) for it in claims} >= {("q4_0", "q8_0"), ("q8_0", "q4_0"), ("q4_0", "q4_0")}
    assert all(claim.contradicted for claim in claims)
    for type_k, type_v in itertools.product(CACHE_TYPES, repeat=2):
        found = evidence_for("Qwen3.5 9B", "qwen35", type_k, type_v)
        shown = (*found.measurements, *found.elsewhere)
        assert all(it.tier is not Tier.UNVERIFIED for it in shown)
        assert set(found.claims) <= set(claims)


@pytest.mark.parametrize(
    ("model", "architecture", "pair", "match", "value"),
    [
        ("Qwen2.5 7B Instruct", "qwen2", ("q4_0", "q4_0"), Match.THIS_MODEL, 5.509),
        ("Qwen2.5 32B Instruct", "qwen2", ("q4_0", "q4_0"), Match.SAME_FAMILY, 5.509),
        ("Gemma 4 26B A4B it", "gemma4", ("q8_0", "q8_0"), Match.THIS_MODEL, 0.377),
        ("Llama 3.1 8B", "llama", ("q4_0", "q8_0"), Match.SAME_FAMILY, 6.06),
        ("Phi 4", "phi3", ("q8_0", "q8_0"), Match.NONE, None),
        # Another generation, another fine-tune: near, but not the same model.
        ("Qwen3.6 27B", "qwen35", ("q8_0", "q8_0"), Match.THIS_MODEL, 0.024),
        ("Qwen3.5 27B", "qwen35", ("q8_0", "q8_0"), Match.SAME_FAMILY, 0.024),
        ("DeepSeek R1 Distill Qwen 7B", "qwen2", ("q4_0", "q4_0"), Match.SAME_FAMILY, 5.509),
        ("Meta-Llama-3-8B-Instruct-Q4_K_M", "llama", ("q8_0", "q8_0"), Match.SAME_FAMILY, 0.03),
        (
            "/srv/models--Qwen--Qwen2.5-7B-Instruct/snapshots/0f1e",
            "Qwen2ForCausalLM",
            ("q4_0", "q4_0"),
            Match.THIS_MODEL,
            5.509,
        ),
        # A score where nobody measured a divergence.
        ("gpt-oss 20B", "gpt-oss", ("q4_0", "q4_0"), Match.THIS_MODEL, 21.7),
    ],
)
def test_the_nearest_measured_model_is_named(
    model: str, architecture: str, pair: tuple[str, str], match: Match, value: float | None
) -> None:
    found = evidence_for(model, architecture, *pair)
    assert found.match is match
    assert (found.measurements[0].value if found.measurements else None) == value
    assert bool(found.model) is (match is not Match.NONE)


def test_divergence_comes_before_perplexity() -> None:
    found = evidence_for("Gemma 3 270M", "gemma3", "q8_0", "q4_0")
    order = [METRICS.index(it.metric) for it in found.measurements]
    assert order == sorted(order)
    assert found.measurements[0].rotation == "on"


def test_a_score_stands_beside_the_one_without_quantization_and_perplexity_beside_a_divergence() -> None:
    score, *_ = quality_lines(evidence_for("gpt-oss 20B", "gpt-oss", "q4_0", "q4_0"))
    assert "aime25 21.7 % (unquantized: 37.9)" in score
    near, elsewhere, *_ = quality_lines(evidence_for("Llama 3.1 8B", "llama", "q8_0", "q8_0"))
    assert near.startswith("nearest measured model: perplexity change")
    assert elsewhere.startswith("elsewhere: kl divergence")
    assert "tiny" not in elsewhere


def test_conflicts_are_told_and_the_reference_has_none() -> None:
    assert "depends on the model" in evidence_for("Phi 4", "phi3", "q8_0", "q8_0").conflict
    assert evidence_for("Phi 4", "phi3", "f16", "f16").conflict == ""


def test_what_was_measured_here_comes_first() -> None:
    own = Measurement(
        "Llama 3.1 8B", ("llama",), "q8_0", "q8_0", "on", "perplexity_change", 0.01, "", "%", "f16/f16",
        "kvtop quality", "", 2026, Tier.OWN,
    )  # fmt: skip
    found = evidence_for("Llama 3.1 8B", "llama", "q8_0", "q8_0", (own,))
    assert found.match is Match.THIS_MODEL
    assert found.measurements[0] is own


def test_low_bit_keys_are_worse_than_low_bit_values_wherever_both_were_measured() -> None:
    """The direction that every source agrees on; a figure against it would have to be looked at before it goes in."""
    by_place: dict[tuple[str, str, str, str], dict[tuple[str, str], float]] = {}
    for it in library():
        if it.value is not None and it.tier is not Tier.UNVERIFIED and it.metric in METRICS:
            key = (it.source, it.model, it.metric, it.rotation)
            by_place.setdefault(key, {})[it.type_k, it.type_v] = it.value
    compared = 0
    for (_, _, metric, _), values in by_place.items():
        keys, others = values.get(("q4_0", "q8_0")), values.get(("q8_0", "q4_0"))
        if keys is not None and others is not None:
            compared += 1
            assert (keys < others) if metric == "same_top_token" else (keys > others)
    assert compared >= 4


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"model": 3}, "figure 1: 'model'"),
        ({"architectures": "x"}, "figure 1: 'architectures'"),
        ({"value": "x"}, "'value'"),
    ],
)
def test_a_broken_figure_is_named(row: dict[str, object], words: str) -> None:
    good: dict[str, object] = {
        "model": "m", "type_k": "q8_0", "type_v": "q8_0", "metric": "kl_divergence", "value": 1, "source": "s",
        "year": 2026, "tier": "primary",
    }  # fmt: skip
    assert len(measurements_of({"figure": [good]})) == 1
    with pytest.raises(ValueError, match=words):
        measurements_of({"figure": [good | row]})
