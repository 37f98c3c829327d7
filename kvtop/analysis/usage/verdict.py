"""The state of a server in a word or two, and how much it wants attention."""

from kvtop.domain.device import Device, DeviceState
from kvtop.domain.headroom import Concern, Filling, Headroom, TimeToFull, Verdict
from kvtop.domain.server import ServerReading, ServerState
from kvtop.text import duration_text

SOON_SECONDS = 600.0
TIGHT_FREE_BYTES = 512 * 1024 * 1024
"""Less than this free on a device it uses, and the next allocation may fail."""

_BY_STATE = {
    ServerState.LOADING: Verdict("loading"),
    ServerState.SLEEPING: Verdict("asleep"),
    ServerState.LOCKED: Verdict("locked", Concern.WATCH),
    ServerState.UNREACHABLE: Verdict("no answer", Concern.BAD),
    ServerState.ERROR: Verdict("error", Concern.BAD),
    ServerState.UNKNOWN: Verdict("not asked yet"),
}


def verdict(
    reading: ServerReading, filling: TimeToFull, headroom: Headroom, devices: tuple[Device, ...] = ()
) -> Verdict:
    """The worst thing that is true of a server on these devices, in few words."""
    if any(device.state is DeviceState.LOST for device in devices):
        return Verdict("its card is lost", Concern.BAD)
    if reading.state in _BY_STATE:
        return _BY_STATE[reading.state]
    if filling.state is Filling.FULL:
        return Verdict(f"{filling.cause} is full", Concern.BAD)
    waiting = [reading.counters.requests_waiting, *(pool.requests_waiting for pool in reading.pools)]
    if any((requests or 0) > 0 for requests in waiting):
        return Verdict("requests wait", Concern.WATCH)
    if filling.state is Filling.GROWING and filling.seconds is not None and filling.seconds < SOON_SECONDS:
        return Verdict(f"full in {duration_text(filling.seconds)}", Concern.WATCH)
    if any(free is not None and free < TIGHT_FREE_BYTES for _, free in headroom.device_free_bytes):
        return Verdict("tight", Concern.WATCH)
    if filling.state is Filling.GROWING:
        return Verdict("filling")
    return Verdict("steady" if filling.state in {Filling.STEADY, Filling.BOUNDED} else "ready")
