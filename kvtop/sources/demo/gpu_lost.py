"""A card that falls off the bus while a server runs on it."""

from dataclasses import replace

from kvtop.domain.device import DeviceState
from kvtop.domain.sample import Sample
from kvtop.sources.demo import rtx4090_llamacpp
from kvtop.sources.demo.timeline import EPOCH

LOST_AT_SECONDS = 3


def at(second: float) -> Sample:
    """The host at that second."""
    whole = rtx4090_llamacpp.at(second)
    if second < LOST_AT_SECONDS:
        return whole
    card, *others = whole.devices
    lost = replace(
        card,
        state=DeviceState.LOST,
        note="GPU is lost: it fell off the bus",
        measured_at=EPOCH + LOST_AT_SECONDS - 1,
    )
    return replace(whole, devices=(lost, *others))
