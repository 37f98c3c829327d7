"""What could not be read in a frame, and the one thing to do about each."""

from kvtop.domain.device import Device, DeviceState
from kvtop.domain.frame import Frame
from kvtop.domain.sample import Failure
from kvtop.domain.server import ServerState

DEVICE_REMEDIES = {
    DeviceState.LOST: "reboot, or reset the card; look into the kernel log (dmesg) for the reason",
    DeviceState.ERROR: "look into the kernel log (dmesg) for errors of its driver",
}

SERVER_REMEDIES = {
    ServerState.UNREACHABLE: "see whether it runs and whether its address is right; it is asked again",
    ServerState.LOCKED: "put its key into KVTOP_API_KEY or into the file that the configuration names",
    ServerState.ERROR: "look at its log; it is asked again with every refresh",
}


def unread_of(frame: Frame) -> tuple[Failure, ...]:
    """What failed as a whole, then devices and servers that gave no answer, or none that is worth anything."""
    told = {failure.source for failure in frame.failures}
    devices = [
        Failure(view.device.id, view.device.note or view.device.state.value, _remedy(view.device))
        for view in frame.devices
        if view.device.state in DEVICE_REMEDIES and view.device.id not in told
    ]
    servers = [
        Failure(reading.id, reading.hint or reading.state.value, SERVER_REMEDIES[reading.state])
        for reading in (view.reading for view in frame.servers)
        if reading.state in SERVER_REMEDIES and f"server {reading.id}" not in told
    ]
    return (*frame.failures, *devices, *servers)


def _remedy(device: Device) -> str:
    tool = device.driver.tool
    if device.state is DeviceState.ERROR and tool:
        return f"run {tool}: it asks the same driver"
    return DEVICE_REMEDIES[device.state]
