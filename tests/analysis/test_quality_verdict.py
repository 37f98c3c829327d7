import pytest

from kvtop.analysis.quality_verdict import LIKE_Q4_K_M_WEIGHTS_NATS, LIKE_Q6_K_WEIGHTS_NATS, quality_verdict
from kvtop.domain.answers.evidence import Measurement, Tier

SMALL, LARGE = LIKE_Q6_K_WEIGHTS_NATS, LIKE_Q4_K_M_WEIGHTS_NATS


def divergence(value: float | None, error: float | None) -> Measurement:
    provenance = ("f16/f16 of the same build", "kvtop quality", "", 2026, Tier.OWN)
    return Measurement(
        "m", ("llama",), "q8_0", "q8_0", "on", "kl_divergence", value, "", "nats/token", *provenance, "", "", error
    )


@pytest.mark.parametrize(
    ("value", "error", "word"),
    [
        (0.0, 0.0, "small"),
        (SMALL - 1e-9, 0.0, "small"),
        (SMALL, 0.0, "noticeable"),
        (SMALL + 0.0021, 0.001, "noticeable"),
        (SMALL + 0.0019, 0.001, "inconclusive"),
        (LARGE - 1e-9, 0.0, "noticeable"),
        (LARGE, 0.0, "large"),
        (LARGE + 0.0019, 0.001, "inconclusive"),
        (0.02, 0.01, "inconclusive"),
        (0.5, 0.02, "large"),
        (None, 0.1, "unknown"),
        (0.1, None, "unknown"),
    ],
)
def test_the_verdict_at_its_borders(value: float | None, error: float | None, word: str) -> None:
    assert quality_verdict(divergence(value, error)).startswith(word)


def test_the_border_that_is_straddled_is_named() -> None:
    assert f"both sides of {SMALL:g}" in quality_verdict(divergence(SMALL, 0.001))
    assert f"both sides of {LARGE:g}" in quality_verdict(divergence(LARGE, 0.001))
