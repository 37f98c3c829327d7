"""What is forecast of a cache, and on which ground, in a sentence."""

from kvtop.domain.headroom import Filling, Ground, TimeToFull
from kvtop.text import countdown_text, duration_text, rate_text, ratio_text, tokens_text

_GROUNDS = {
    Ground.ANSWERS: "if the running answers go on",
    Ground.PEAKS: "if its peaks keep rising",
    Ground.MEMORY: "if its memory keeps growing",
}


def forecast_text(filling: TimeToFull) -> str:
    """ "slot 2 full in 1m55s if the running answers go on (31 tokens/s)", "cannot fill: …", "no trend to full: …"."""
    if filling.state is Filling.FULL:
        return f"{filling.cause} is full"
    if filling.state is Filling.GROWING and filling.seconds is not None:
        pace = "" if filling.tokens_per_second is None else f" ({rate_text(filling.tokens_per_second)} tokens/s)"
        ground = _GROUNDS.get(filling.ground, "at this pace")
        return f"{filling.cause} full in {countdown_text(filling.seconds)} {ground}{pace}"
    if filling.state is Filling.UNKNOWN:
        return "not known yet whether it fills"
    peak = ""
    if filling.peak_ratio is not None:
        peak = f"peak {ratio_text(filling.peak_ratio)} in {duration_text(filling.peak_seconds)}"
    if filling.state is Filling.BOUNDED:
        added = "what runs cannot fill it"
        if filling.addable_tokens is not None and filling.tokens_left is not None:
            more, left = tokens_text(filling.addable_tokens), tokens_text(filling.tokens_left)
            added = f"what runs can add at most {more} of {left} tokens left: cannot fill"
        return ", ".join(filter(None, (added, peak)))
    return f"nothing leads to full, {peak}" if peak else "nothing leads to full"
