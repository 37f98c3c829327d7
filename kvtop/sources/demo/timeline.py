"""A scenario is a host at a second: no clock of its own, so a picture of second 8 is the same picture for ever."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from kvtop.domain.sample import Sample

EPOCH = 1795392000.0
"""When every scenario begins (Unix time)."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named host: what it shows, and what makes its Sample at a second."""

    name: str
    shows: str
    made: Callable[[float], Sample]

    def at(self, second: float) -> Sample:
        """Its Sample at a second, marked as what it is."""
        return replace(self.made(second), is_demo=True)


async def play(chosen: Scenario, interval_seconds: float) -> AsyncIterator[Sample]:
    """The scenario in real time, a Sample every `interval_seconds`, for ever."""
    second = 0.0
    while True:
        yield chosen.at(second)
        await asyncio.sleep(interval_seconds)
        second += interval_seconds
