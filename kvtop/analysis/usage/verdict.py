"""The state of a server in a word or two, and how much it wants attention."""

from kvtop.domain.device import Device, DeviceState
from kvtop.domain.headroom import Concern, Filling, Headroom, TimeToFull, Verdict
from kvtop.domain.server import ServerReading, ServerState
from kvtop.text import countdown_text, duration_text

SOON_SECONDS = 600.0
"""A countdown that is longer is not begun."""
NOW_SECONDS = 60.0
"""A shorter one is as bad as a full cache."""
TIGHT_FREE_BYTES = 512 * 1024 * 1024
"""Less than this free on a device it uses, and the next allocation may fail."""
FULL = "full"
WAITING = "requests wait"
TIGHT = "tight"

BY_STATE = {
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
    if reading.state in BY_STATE:
        return BY_STATE[reading.state]
    if filling.state is Filling.FULL:
        return Verdict(f"{filling.cause} is full", Concern.BAD, topic=FULL)
    if filling.state is Filling.GROWING and filling.seconds is not None and filling.seconds < SOON_SECONDS:
        concern = Concern.BAD if filling.seconds < NOW_SECONDS else Concern.WATCH
        return Verdict(f"full in {countdown_text(filling.seconds)}", concern, filling.seconds)
    if filling.filled:
        ago = duration_text(filling.filled_seconds_ago)
        return Verdict(f"{filling.filled} filled {ago} ago", Concern.WATCH, topic=FULL)
    waiting = [reading.counters.requests_waiting, *(pool.requests_waiting for pool in reading.pools)]
    if any((requests or 0) > 0 for requests in waiting):
        return Verdict(WAITING, Concern.WATCH)
    if any(free is not None and free < TIGHT_FREE_BYTES for _, free in headroom.device_free_bytes):
        return Verdict(TIGHT, Concern.WATCH)
    return Verdict("ready" if filling.state is Filling.UNKNOWN else "steady")
