"""Windows underneath: the card's totals are there, the processes are listed, and their memory is not."""

from dataclasses import replace

from kvtop.domain.sample import Sample
from kvtop.sources.demo import rtx4090_llamacpp
from kvtop.sources.demo.hardware import hiding_bytes


def at(second: float) -> Sample:
    """The host at that second."""
    whole = rtx4090_llamacpp.at(second)
    card, *others = whole.devices
    return replace(whole, host="desktop-wsl", devices=(hiding_bytes(card), *others))
