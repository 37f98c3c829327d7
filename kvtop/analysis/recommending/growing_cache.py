"""Engines whose cache grows with each sequence: a plan has one, and a recommendation is for as many as required."""

from dataclasses import replace

from kvtop.domain.answers.what_if import DeviceChange, WhatIfComparison
from kvtop.domain.memory import CACHES, Memory
from kvtop.planning.registry import traits_of


def cache_grows(engine: str) -> bool:
    """Whether its cache is taken as requests need it."""
    traits = traits_of(engine)
    return traits is not None and traits.cache_grows


def of_many(compared: WhatIfComparison, users: int) -> WhatIfComparison:
    """The same comparison with the caches of `users` sequences."""

    def more(device: DeviceChange) -> DeviceChange:
        caches = Memory.of({segment: device.then[segment] for segment in CACHES})
        added = Memory.total_of([caches] * (users - 1))
        return replace(device, then=device.then + added, needed=device.needed + added.total)

    return replace(compared, devices=tuple(map(more, compared.devices)))
