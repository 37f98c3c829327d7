"""What a measured divergence means, in the one currency that people know: what quantizing weights costs."""

from kvtop.domain.answers.evidence import Measurement

LIKE_Q6_K_WEIGHTS_NATS = 0.00546
"""Mean KL divergence of q6_K weights from f16 weights, nats a token (llama.cpp PR 7412, Llama 3 8B, wikitext)."""
LIKE_Q4_K_M_WEIGHTS_NATS = 0.0329
"""The same of q4_K_M weights; keys in q4_0 cost as much (llama.cpp PR 7412)."""
CONFIDENCE = 2.0
"""Standard errors to each side of the mean: about 95 %."""


def quality_verdict(divergence: Measurement) -> str:
    """small, noticeable or large, or inconclusive where too few tokens were scored to say which.

    The borders were measured on another model and text: the sentence names them.
    """
    value, error = divergence.value, divergence.standard_error
    if value is None:
        return "unknown: the tool printed no divergence"
    if error is None:
        return "unknown: the tool printed no error of the divergence"
    low, high = value - CONFIDENCE * error, value + CONFIDENCE * error
    first, second = LIKE_Q6_K_WEIGHTS_NATS, LIKE_Q4_K_M_WEIGHTS_NATS
    if high < first:
        return f"small: less than weights in q6_K cost ({first:g} nats/token in llama.cpp PR 7412)"
    if low >= second:
        return f"large: more than weights in q4_K_M cost ({second:g} nats/token in llama.cpp PR 7412)"
    if low >= first and high < second:
        return (
            f"noticeable: more than weights in q6_K, less than in q4_K_M ({first:g} and {second:g}, llama.cpp PR 7412)"
        )
    border = first if low < first else second
    interval = f"{low:.4f} to {high:.4f} nats/token lies on both sides of {border:g}"
    return f"inconclusive: {interval}; give more --chunks"
