"""A program under test: reads devices on each line of its input ("read SECONDS") and prints JSON. "quit" ends it.

It is a process of its own because the loader looks at LD_LIBRARY_PATH only when a process starts. One argument: how
many seconds after a failed start the driver is tried again.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict

from kvtop.sources.devices import BACKENDS
from kvtop.sources.devices.device_reader import DeviceReader


def main() -> None:
    reader = DeviceReader(BACKENDS, retry_seconds=float(sys.argv[1]))
    for line in sys.stdin:
        verb, _, argument = line.strip().partition(" ")
        started = time.monotonic()
        if verb == "quit":
            return
        if verb == "read":
            devices, failures = asyncio.run(reader.read(float(argument)))
        else:
            devices, failures = reader.read_once(float(argument))
        answer = {
            "devices": {device.id: asdict(device) | {"driver": device.driver.name} for device in devices},
            "failures": [asdict(failure) for failure in failures],
            "seconds": time.monotonic() - started,
        }
        print(json.dumps(answer), flush=True)


main()
